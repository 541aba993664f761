"""A batch of prompts that is being read on, token by token: what every way of decoding is made of."""
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from mm.attention.plan import active_plan
from mm.attention.session import HOME, OTHER_LEVERS, Session
from mm.attention.trunk import Trunk
from mm.attention.visibility import Visibility
from mm.language.anatomy import text_decoder
from mm.language.arguments import CACHE
from mm.language.door import levers_of
from mm.models.aside import aside
from mm.models.modes import evaluating
from mm.models.trunk_cache import behind, is_shareable
from mm.streams.crossing import HOME as MEDIA
from mm.tokens import TokenMap

OF_TOKENS = ("attention_mask", "token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids")  # [B, N]; other inputs are of the prompt's media
Around = Callable[[Session | None], AbstractContextManager[Any]]  # what the levers know of the rows → what is to be active while they are read


def nothing(session: Session | None) -> AbstractContextManager[Any]:
    return nullcontext()


@dataclass
class Passes:
    """rows: forward passes of a model over one row."""

    rows: int = 0


_passes: ContextVar[Passes | None] = ContextVar("mm_passes", default=None)


@contextmanager
def counted() -> Iterator[Passes]:
    """Counts what every continuation reads within, whatever searches with it."""
    passes = Passes()
    token = _passes.set(passes)
    try:
        yield passes
    finally:
        _passes.reset(token)


class Continuation(ABC):
    """Says what comes next behind each of B rows: `begin` once, then `step` after `step`. forwards: passes of a model over one row so far."""

    forwards: int = 0

    @abstractmethod
    def begin(self) -> Tensor:
        """Reads the prompts. Logits of the first answer token, float32 [B, vocabulary]."""

    @abstractmethod
    def step(self, ids: Tensor) -> Tensor:
        """Reads one token a row, long [B]. Logits of the next one, float32 [B, vocabulary]."""

    @abstractmethod
    def select(self, rows: Tensor) -> None:
        """Goes on with these rows only, long [R], in this order; one may come several times. ValueError where `selects` is False."""

    @property
    def selects(self) -> bool:
        """Whether rows can leave, come in another order, or come again."""
        return True

    def branched(self, rows: Tensor) -> "Continuation":
        """These rows, as `select` takes them, to be gone on with beside this continuation, which stays where it is. ValueError for one that cannot
        stand in two places."""
        raise ValueError(f"a {type(self).__name__} cannot be gone on with in two ways; decode the prompts themselves")


class ModelContinuation(Continuation):
    """Of one model of transformers, which reads what its own `generate` would have it read.

    Args:
        model: on whatever attention it has; levers come from `around`, or lie on it (`mm.steer`).
        inputs: arguments of the model: input_ids or inputs_embeds, attention_mask [B, N] with padding on the left, and whatever belongs to media.
        around: what is to be active while the model reads.
    """

    def __init__(self, model: PreTrainedModel, inputs: Mapping[str, Any], around: Around = nothing) -> None:
        self.model, self.around = model, around
        self.inputs: dict[str, Any] = {name: value for name, value in inputs.items() if value is not None}
        if not bool(self.inputs["attention_mask"][:, -1].all()):
            raise ValueError("a row of the prompts ends with padding, and decoded tokens would follow it; pad prompts on the left")

    @torch.no_grad()
    def begin(self) -> Tensor:
        inputs: dict[str, Any] = {**self.inputs, CACHE: DynamicCache(config=self.model.config.get_text_config()), "use_cache": True}
        embeds: Any = inputs.get("inputs_embeds")
        ids = inputs.pop("input_ids", None)
        if ids is None:
            ids = torch.empty(len(embeds), 0, dtype=torch.long, device=embeds.device)
        model: Any = self.model
        with aside(self.model):
            inputs["position_ids"] = model._prepare_position_ids_for_generation(ids if embeds is None else embeds, inputs)
        logits = self._read(model.prepare_inputs_for_generation(ids, is_first_iteration=True, **inputs))
        self.inputs = {name: inputs[name] for name in (*OF_TOKENS, "position_ids", CACHE, "use_cache") if inputs.get(name) is not None}
        return logits

    def step(self, ids: Tensor) -> Tensor:
        return self.extend(ids[:, None])

    @torch.no_grad()
    def extend(self, ids: Tensor, real: Tensor | None = None) -> Tensor:
        """Reads several tokens a row, long [B, n], padded on the left where `real`, [B, n], is 0. Logits behind the last of them."""
        real = torch.ones_like(ids) if real is None else real.to(ids)
        inputs, count = self.inputs, ids.shape[1]
        if count > 1 and "token_type_ids" in inputs:  # by which such models tell tokens that see each other, so these are read one by one
            return [self.extend(ids[:, place:place + 1], real[:, place:place + 1]) for place in range(count)][-1]
        inputs["attention_mask"] = torch.cat([inputs["attention_mask"], real.to(inputs["attention_mask"])], 1)
        inputs["position_ids"] = torch.cat([inputs["position_ids"], behind_all(inputs["position_ids"]) + real.cumsum(1)], -1)
        if "token_type_ids" in inputs:
            inputs["token_type_ids"] = torch.cat([inputs["token_type_ids"], inputs["token_type_ids"][:, -1:].expand(-1, count)], 1)
        for name in OF_TOKENS[2:]:
            if name in inputs:
                inputs[name] = torch.nn.functional.pad(inputs[name], (0, count))
        model: Any = self.model
        return self._read(model.prepare_inputs_for_generation(ids, next_sequence_length=count, is_first_iteration=False, **inputs))

    def _read(self, inputs: dict[str, Any]) -> Tensor:
        """One pass; the last token's logits."""
        with aside(self.model), evaluating(self.model), self.around(self.session):
            if self.session is not None and self.session.trunk is not None and not self._is_levered:
                raise ValueError(OTHER_LEVERS)
            output = self.model(**inputs, logits_to_keep=1, return_dict=True)
        logits: Tensor = output.logits[:, -1].float()
        self.count(len(logits))
        return logits

    @property
    def _is_levered(self) -> bool:
        """Whether attention would know of a trunk: the model is on the seam, and a plan is active."""
        levers = levers_of(text_decoder(self.model))
        return active_plan() is not None or (levers is not None and levers.plan is not None)

    def count(self, rows: int) -> None:
        """A row that goes on behind a shared trunk has read it with its first pass."""
        self.forwards += rows
        if (passes := _passes.get()) is not None:
            passes.rows += rows

    @property
    def session(self) -> Session | None:
        """What the levers know of these rows."""
        return getattr(self.inputs.get(CACHE), HOME, None)

    @property
    def selects(self) -> bool:
        return getattr(self.inputs.get(CACHE), MEDIA, None) is None

    def select(self, rows: Tensor) -> None:
        if not self.selects:
            raise ValueError("blocks inside this model read media row by row, so its rows can neither leave nor change places")
        cache, session = self.inputs[CACHE], self.session
        cache.batch_select_indices(rows)
        if session is not None:
            setattr(cache, HOME, session.selected(rows))
        for name in OF_TOKENS:
            if name in self.inputs:
                self.inputs[name] = self.inputs[name][rows]
        self.inputs["position_ids"] = self.inputs["position_ids"].index_select(-2, rows)

    def branched(self, rows: Tensor) -> "ModelContinuation":
        cache = copy(self.inputs[CACHE])
        cache.layers = [copy(layer) for layer in cache.layers]  # what a layer reads and selects it puts beside what it had, not into it
        after = copy(self)
        after.inputs, after.forwards = {**self.inputs, CACHE: cache}, 0
        after.select(rows)
        return after


def behind_all(position_ids: Tensor) -> Tensor:
    """Where text goes on, [B, 1] from [B, N]; [4, B, 1] from [4, B, N], of text and in time, row and column, where it goes on behind all three."""
    last = position_ids[..., -1:]
    if position_ids.dim() == 2:
        return last
    furthest = position_ids[-3:].amax((0, 2))[None, :, None].expand(3, -1, -1)
    return torch.cat([last[:-3], furthest])


class Trunks(ModelContinuation):
    """Prompts that begin alike, read once up to where they part.

    Where no rule looks at all keys of a row, the rows go on sharing what was read (`mm.attention.trunk`); else each gets a copy of it.

    Args:
        inputs: of the P trunks, padded on the left. ahead: how many of their last tokens are none of the trunk: they are read and forgotten, so
            that the trunk's last one is not taken for the end of a prompt, where rules act that change what predicts an answer.
        owner: long [B], the trunk of each row. ids, real: how the rows go on, long [B, n], padded on the left where real is 0.
        tokens: map of the whole rows, trunk and rest, [B, T + n], for a model whose levers need one; None where they read it off the ids.
    """

    def __init__(self, model: PreTrainedModel, inputs: Mapping[str, Any], owner: Tensor, ids: Tensor, real: Tensor, tokens: TokenMap | None = None,
                 around: Around = nothing, ahead: int = 0) -> None:
        super().__init__(model, inputs, around)
        self.owner, self.rest, self.real, self.tokens, self.ahead = owner, ids, real, tokens, ahead

    def begin(self) -> Tensor:
        super().begin()
        self.count(-len(self.inputs["attention_mask"]))
        session, cache = self.session, self.inputs[CACHE]
        length = self.inputs["attention_mask"].shape[1] - self.ahead
        if self.ahead:
            cache.crop(-self.ahead)
            self.inputs |= {name: self.inputs[name][..., :length] for name in (*OF_TOKENS, "position_ids") if name in self.inputs}
        if session is not None and is_shareable(cache) and self._sees_trunk(session, length):
            session.trunk = Trunk(tuple((layer.keys, layer.values) for layer in cache.layers), session.base.is_real[:, :length],
                                  torch.arange(len(session.base.kind), device=self.owner.device))
            self.inputs[CACHE] = behind(cache)
            setattr(self.inputs[CACHE], HOME, session)
        self.select(self.owner)
        if self.tokens is not None:
            session = self.session
            assert session is not None, "a map is given to levers only"
            setattr(self.inputs[CACHE], HOME, session.with_prompt(self.tokens, length))
        return self.extend(self.rest, self.real)

    def _sees_trunk(self, session: Session, length: int) -> bool:
        """Whether every token that follows attends to all of its trunk, and nothing looks at all keys of a row."""
        plan = session.plan
        if plan.recorder is not None or not all(rule.is_neutral for rule in session.rules):
            return False
        if plan.mask is None or session.is_plain:
            return True
        if self.tokens is None:
            return False
        whole = self.tokens if plan.positions is None else self.tokens.at(plan.positions.assign(self.tokens))
        seen = Visibility(plan.mask, whole, slice(length, None), slice(0, length)).dense()[:, 0]
        return bool((seen | ~whole.is_real[:, None, :length] | ~whole.is_real[:, length:, None]).all())
