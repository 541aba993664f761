"""Rules inside attention: what every one of them says about itself, and the kinds that there are.

Shapes: B batch, H query heads, Q queries, N keys, G groups, C channels. The engine that runs the rules is `mm.attention.engine`.
"""
import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mm.attention.active import Span
from mm.tokens import Kind, Role, TokenMap


class Rule:
    """Something that changes what attention computes in some layers.

    first_layer, last_layer: the layers it acts in, both inclusive; negative ones are counted from the end, -1 is the last.
    needs: what `groups` wants besides the token map: "hidden", the states that enter the layer, "columns", the keys' mean weights.
    decoded_group: the group of keys that follow the prompt.
    wants_whole: what it does depends on rows of the prompt that stand before its own, so that the prompt must be read in one piece. A rule that needs
    "columns" wants that too.
    shares_rows: what it does to a question does not depend on other questions in the row, so that they may share a picture. A rule says so itself.

    A rule object belongs to the model that it was last bound to: give models of other depths rules of their own.
    """

    needs: frozenset[Literal["hidden", "columns"]] = frozenset()
    decoded_group: int = 0
    wants_whole: bool = False
    shares_rows: bool = False
    first_layer: int = 0
    last_layer: int = -1
    depth: int | None = None  # layers of the model, once `bind` has told

    @property
    def is_neutral(self) -> bool:
        """It changes nothing: the engine then makes the plain call."""
        return False

    def bind(self, layers: int, heads: int) -> None:
        """Tells the rule how many layers and query heads the model has. ValueError if the rule asks for others."""
        for name in ("first_layer", "last_layer"):
            if not -layers <= getattr(self, name) < layers:
                raise ValueError(f"{type(self).__name__}: {name} is {getattr(self, name)}, and the model has layers 0 to {layers - 1}; set "
                                 f"{name} to one of them, or count from the end: -1 is the last")
        self.depth = layers
        if not any(self.applies(layer) for layer in range(layers)):
            raise ValueError(f"{type(self).__name__}: from layer {self.first_layer} to {self.last_layer} of {layers} there is none; "
                             "set first_layer and last_layer")

    def measure(self, key_heads: int, width: int) -> None:
        """Tells a rule whose parameters depend on it, after `bind`, how many heads of keys the model has and how wide they are."""

    def applies(self, layer: int) -> bool:
        """Does the rule act in this layer? Before `bind`, a bound that is counted from the end bounds nothing."""
        first, last = self.first_layer, self.last_layer
        if self.depth is not None:
            first, last = first % self.depth, last % self.depth
        return max(first, 0) <= layer and (last < 0 or layer <= last)

    def rows(self, tokens: TokenMap) -> Tensor:
        """bool [B, N]: tokens whose queries the rule may touch."""
        return tokens.is_real

    def head_mask(self, layer: int, heads: int) -> Tensor | None:
        """bool [H]: heads of this layer that the rule may touch; None for all."""
        return None

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor | None:
        """Group of each key of the prompt, long [B, N] or [B, H, N]. Found when the prompt is read, then kept.

        None for row rules without groups; of other rules it means that there is nothing to do in this layer, which is then plain.

        hidden: [B, N, C], entering the layer. columns: [B, H, N], mean weight of each key over the rows that see it. None unless in `needs`.
        """
        return None

    def acts_on(self, groups: Tensor) -> bool:
        """Whether the groups of a whole prompt leave the rule anything to do in this layer; if not, the layer is plain, to the bit."""
        return True

    def __repr__(self) -> str:
        """With the arguments that are not the defaults."""
        said = {name: getattr(self, name) for name, parameter in inspect.signature(type(self)).parameters.items()
                if getattr(self, name) != parameter.default}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in said.items())})"


class Reweight(Rule, ABC):
    """Moves attention mass between groups of keys.

    group_count: groups are 0 to group_count - 1. idle_group: one whose factor is always 1 and whose mass and size `weights` does not read, usually by
    far the largest: the engine then need not part it from the rest. None if there is none. group_names: for people, in order.
    """

    group_count: int
    group_names: tuple[str, ...] = ()
    idle_group: int | None = None

    @abstractmethod
    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor | None: ...

    def watched_groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        """The groups as `mm.analysis.Masses` shows them: in every layer, also where there is nothing to do."""
        found = self.groups(tokens, layer, hidden, columns)
        return torch.full_like(tokens.kind, self.decoded_group) if found is None else found

    @abstractmethod
    def weights(self, mass: Tensor, size: Tensor) -> Tensor:
        """Factors [G, B, H, Q] on the groups' weights, from their masses [G, B, H, Q], of which a row's sum to 1, and the number of their keys that a
        row sees, [G, B, 1 or H, Q or 1]. Pure, and finite with finite gradients for any masses, 0 included.
        """


class RowRule(Rule, ABC):
    """Changes the explicit scores of a few rows.

    together: `logits` wants all rows that the rule touches in a call at once. silences: `logits` may say -inf of every key that a row sees in some
    head, whose output is then 0. idle_group: keys in it keep their scores, and the new scores of the others depend on nothing but their own, so that
    `logits` may be asked about a part of the keys; None if that is not so.
    """

    together: bool = False
    silences: bool = False
    idle_group: int | None = None

    @abstractmethod
    def logits(self, scores: Tensor, rows: TokenMap, keys: TokenMap, groups: Tensor | None) -> Tensor:
        """New scores [B, H, R, N], softmax over keys still to come, from those of neighbouring rows, -inf where a row sees no key.

        rows: [B, R], some of which are not to be touched; what is returned for them is not used. keys: [B, N]; groups: [B, 1 or H, N].
        """


class LogitScale(Rule, ABC):
    """Multiplies scores by a factor for each head and group of keys, before the softmax, in every row.

    idle_group: one whose factor is always 1; None if there is none.
    """

    idle_group: int | None = None

    @abstractmethod
    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor | None: ...

    @abstractmethod
    def scales(self, layer: int) -> Tensor:
        """Factors [H, G]."""


class KeyRewrite(Rule, ABC):
    """Rewrites keys of the prompt when it is read, before anything else is done with them; steps that follow see the rewritten ones."""

    @abstractmethod
    def spans(self, tokens: TokenMap) -> Sequence[Span]:
        """Which keys of a prompt [B, N] are rewritten, and from which tokens. No key may be in two spans."""

    @abstractmethod
    def rewritten(self, layer: int, keys: Tensor, from_keys: Tensor, from_values: Tensor, given: Tensor) -> Tensor:
        """New keys [B, Hk, n, D] for those of a span, from keys [B, Hk, m, D] and values [B, Hk, m, Dv] where `given`, bool [B, m], is True. Pure.

        Hk: heads of keys, which query heads may share.
        """


class KeyChoice(Rule, ABC):
    """Adds a bias to the scores of each key, and chooses by it which keys a row sees, in every row."""

    @abstractmethod
    def bias(self, layer: int, values: Tensor) -> Tensor:
        """[B, Hk, N], from values [B, Hk, N, Dv]; differentiable. A key's own depends on no other key, or a cache could not go on."""

    @abstractmethod
    def chooses(self, keys: int) -> bool:
        """May it hide any of that many keys? Then only the bias is left of the rule, for which there is a faster way."""

    @abstractmethod
    def chosen(self, bias: Tensor, seen: Tensor, keys: TokenMap) -> Tensor:
        """bool [B, X, q, n]: of the keys that some rows see, bool [B or 1, 1 or X, q, n], those that they are left with.

        bias: [B, X, N], for heads of keys or of queries, without gradient. keys: [B, N]; `seen` is about the first n.
        """


def answering(tokens: TokenMap) -> Tensor:
    """bool [B, N]: rows that predict an answer, which are the last of a prompt and the answer's own.

    Methods that change "the newest row" while they generate change these; said like this, a forward pass over the whole answer computes what
    generating it step by step did.
    """
    here, ahead = tokens[:, :-1], tokens[:, 1:]
    goes_on = (here.document == ahead.document) & ((here.branch == ahead.branch) | (here.branch == 0)) & (ahead.role != Role.ANSWER)
    last = torch.cat([~goes_on, torch.ones_like(tokens.is_real[:, :1])], dim=1)
    return (tokens.kind == Kind.TEXT) & (last | (tokens.role == Role.ANSWER))
