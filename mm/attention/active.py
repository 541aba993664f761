"""Rules that change what attention computes, as the engine sees them, and which of them act in one call.

There are five kinds. A rule *moves mass* between groups of keys: its factors depend on the groups' masses alone, so it never needs the Q x N matrix.
It *bends rows*: it changes the explicit scores of a few rows. It *scales scores*: one factor for each head and group of keys, before the softmax.
It *rewrites keys* of the prompt before anything else is done with them. It *chooses keys*: a bias on each one's scores, and which of them a row sees.
`mm.reweight` holds the base classes; the engine knows these protocols only.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor

from mm.tokens import TokenMap


class Grouping(Protocol):
    """What tells keys apart in a layer, as a rule does that acts there."""

    @property
    def needs(self) -> frozenset[Literal["hidden", "columns"]]: ...

    @property
    def decoded_group(self) -> int: ...

    def head_mask(self, layer: int, heads: int) -> Tensor | None: ...

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor | None: ...


class ActiveRule(Protocol):
    """What every rule says about itself. decoded_group: the group of the keys that follow the prompt. is_neutral: it changes nothing."""

    @property
    def decoded_group(self) -> int: ...

    @property
    def is_neutral(self) -> bool: ...


class LayerRule(Grouping, ActiveRule, Protocol):
    """What tells where a rule acts: in which layers, on which rows, and whether the groups that it found leave it anything to do. `mm.reweight.Rule`
    provides it."""

    def applies(self, layer: int) -> bool: ...

    def rows(self, tokens: TokenMap) -> Tensor: ...

    def acts_on(self, groups: Tensor) -> bool: ...


class MovesMass(Protocol):
    """idle_group: a group whose factor is always 1 and whose mass and size `weights` does not read; None if there is none."""

    @property
    def group_count(self) -> int: ...

    @property
    def idle_group(self) -> int | None: ...

    def weights(self, mass: Tensor, size: Tensor) -> Tensor: ...


class BiasesScores(Protocol):
    """Moves mass by constant weights before normalisation: `log_weights` [G], added to scores, do what `weights` does."""

    def log_weights(self) -> Tensor: ...


class BendsRows(Protocol):
    """together: `logits` must get all rows of the call that the rule touches at once. silences: it may hide every key from a row of a head, whose
    output is then 0. idle_group: keys in it keep their scores, and the new scores of other keys depend on nothing but their own; None if that is not
    so.
    """

    @property
    def together(self) -> bool: ...

    @property
    def silences(self) -> bool: ...

    @property
    def idle_group(self) -> int | None: ...

    def logits(self, scores: Tensor, rows: TokenMap, keys: TokenMap, groups: Tensor | None) -> Tensor: ...


class ScalesScores(Protocol):
    """idle_group: keys in it keep their scores; None if there is none."""

    @property
    def idle_group(self) -> int | None: ...

    def scales(self, layer: int) -> Tensor: ...


class ChoosesKeys(Protocol):
    """Adds to the scores of each key a bias that follows from its value, and hides keys by it. See `mm.reweight.KeyChoice`."""

    def bias(self, layer: int, values: Tensor) -> Tensor: ...

    def chooses(self, keys: int) -> bool: ...

    def chosen(self, bias: Tensor, seen: Tensor, keys: TokenMap) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Span:
    """Tokens of a prompt whose keys a rule rewrites, and those that it rewrites them from: bool [B, N] both."""

    keys: Tensor
    sources: Tensor


class RewritesKeys(Protocol):
    """Changes keys of the prompt once, when it is read; `mm.attention.rewriting` puts them in their places from then on."""

    def spans(self, tokens: TokenMap) -> Sequence[Span]: ...

    def rewritten(self, layer: int, keys: Tensor, from_keys: Tensor, from_values: Tensor, given: Tensor) -> Tensor: ...


# What a rule does is a matter of its class; asking a protocol of each object, in every layer of every step, takes longer than the step's row.
def moves_mass(rule: object) -> TypeGuard[MovesMass]:
    return hasattr(type(rule), "weights")


def biases_scores(rule: object) -> TypeGuard[BiasesScores]:
    return hasattr(type(rule), "log_weights")


def bends_rows(rule: object) -> TypeGuard[BendsRows]:
    return hasattr(type(rule), "logits")


def scales_scores(rule: object) -> TypeGuard[ScalesScores]:
    return hasattr(type(rule), "scales")


def chooses_keys(rule: object) -> TypeGuard[ChoosesKeys]:
    return hasattr(type(rule), "chosen")


def rewrites_keys(rule: object) -> TypeGuard[RewritesKeys]:
    return hasattr(type(rule), "rewritten")


@dataclass(frozen=True, eq=False)
class Active:
    """One rule in one call of one layer.

    groups: long [B, P] or [B, H, P], the group of each key of the prompt; later keys are in `rule.decoded_group`. None for a rule without groups, and
    where a rule found nothing to do in this layer.
    rows: bool [B, Q], the queries of this call that the rule may touch; None for all. heads: bool [H]; None for all. layer: index of the layer.
    """

    rule: ActiveRule
    groups: Tensor | None = None
    rows: Tensor | None = None
    heads: Tensor | None = None
    layer: int = 0

    @property
    def acts(self) -> bool:
        """It may change something here."""
        nothing_found = self.groups is None and not (bends_rows(self.rule) or chooses_keys(self.rule))
        return not (nothing_found or self.rule.is_neutral) and (self.rows is None or bool(self.rows.any()))

    def key_groups(self, length: int, keys: int) -> Tensor:
        """Group of each of the last `keys` of `length` tokens, [B, 1 or H, keys]."""
        assert self.groups is not None
        groups = self.groups if self.groups.dim() == 3 else self.groups.unsqueeze(1)
        if length > groups.shape[2]:
            groups = F.pad(groups, (0, length - groups.shape[2]), value=self.rule.decoded_group)
        return groups[..., length - keys:length]

    def touched(self, window: slice, device: torch.device) -> Tensor | None:
        """bool [B, 1 or H, q, 1] (or None for everything): which rows of the window, in which heads, the rule may touch."""
        rows = None if self.rows is None else self.rows[:, None, window, None].to(device)
        heads = None if self.heads is None else self.heads.view(1, -1, 1, 1).to(device)
        if rows is None or heads is None:
            return heads if rows is None else rows
        return rows & heads


def checked_groups(rule: Grouping, groups: Tensor | None, shape: torch.Size) -> Tensor | None:
    """What a rule said of the tokens [B, N]. ValueError where that is no table of its groups."""
    if groups is None:
        return None
    if groups.dtype != torch.long or groups.dim() not in (2, 3) or (groups.shape[0], groups.shape[-1]) != tuple(shape):
        raise ValueError(f"{rule!r} gave groups {groups.dtype} {tuple(groups.shape)} for {shape[0]} rows of {shape[1]} tokens; they are torch.int64, "
                         "[B, N] or [B, H, N]: correct its `groups`")
    count = getattr(rule, "group_count", None)
    if count is None:
        return groups
    if bool(((groups < 0) | (groups >= count)).any()):
        raise ValueError(f"{rule!r} gave groups from {int(groups.min())} to {int(groups.max())}; it has groups 0 to {count - 1}: correct `groups` or "
                         "`group_count`")
    if not 0 <= rule.decoded_group < count:
        raise ValueError(f"{rule!r} puts decoded tokens into group {rule.decoded_group}; it has groups 0 to {count - 1}: correct its `decoded_group`")
    return groups


def union_rows(actives: "list[Active]", queries: int) -> Tensor:
    """bool [Q], on the CPU: rows that some of the rules may touch in some sample."""
    found = torch.zeros(queries, dtype=torch.bool)
    for active in actives:
        found |= torch.ones_like(found) if active.rows is None else active.rows.any(0).cpu()
    return found
