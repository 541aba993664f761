"""What is active now: the mask and the token map of the prompt that a model is reading, delivered to attention inside `generate`.

`generate` refuses arguments that it does not know, so inside it, and only without gradients, a context variable carries the plan. In training the
mask travels as an argument of the forward call: a layer that is recomputed under gradient checkpointing runs after any context has gone.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mm.attention.record import Recorder
from mm.tokens import TokenMap


class DenseMask(Protocol):
    """What a plan needs of a mask; `mm.masks.Mask` provides it."""

    @property
    def chunkable(self) -> bool: ...

    @property
    def is_causal(self) -> bool: ...

    def dense(self, tokens: TokenMap, queries: slice = ..., keys: slice = ..., window: int | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Plan:
    """mask: who sees whom. tokens: the padded prompt, [B, N], which decoded tokens continue as answer text; None for text models, whose map follows
    from the 2-D attention mask of each call. recorder: watches the weights of a few rows.
    """

    mask: DenseMask
    tokens: TokenMap | None = None
    recorder: Recorder | None = None

    def read(self, real: Tensor | None, batch: int, length: int, device: torch.device) -> "Reading":
        """The plan for a call whose keys reach to `length`. real: the call's 2-D mask of real tokens, used where the plan has no map of its own."""
        if self.tokens is not None:
            return Reading(self.mask, self.tokens)
        real = torch.ones(batch, length, dtype=torch.bool, device=device) if real is None else real[:, :length]
        return Reading(self.mask, TokenMap.text(real))


@dataclass(frozen=True)
class Reading:
    """A mask over a known prompt."""

    mask: DenseMask
    tokens: TokenMap

    @property
    def is_plain(self) -> bool:
        """The plain model would compute the same: causal, and every row one sequence without padding before it."""
        return self.mask.is_causal and self.tokens.is_chain

    def visible(self, batch: int, queries: slice, keys: slice, window: int | None = None) -> Tensor:
        """bool [batch, 1, Q, N] over absolute token indices that may run on behind the prompt.

        batch: a multiple of the prompt's rows, each repeated in order, as beams are. window: of sliding layers. ValueError where `batch` is none,
        where the prompt arrives in pieces that the mask would part, or where decoded tokens would follow padding.
        """
        tokens, (rows, length) = self.tokens, self.tokens.shape
        if batch % rows:
            raise ValueError(f"the active plan describes {rows} rows and the model reads {batch}; activate a plan made for this batch")
        if not self.mask.chunkable and queries.start < length and (queries.start, queries.stop) != (0, length):
            raise ValueError(f"{self.mask!r} lets tokens see later ones, so its prompt of {length} tokens must be read in one piece; "
                             f"got tokens {queries.start} to {queries.stop}: prefill without chunks, with a plan made for this prompt")
        if queries.stop > length and not bool(tokens.is_real[:, -1].all()):
            raise ValueError("a row of the active plan ends with padding, and decoded tokens would follow it; pad prompts on the left")
        reach = max(queries.stop, keys.stop)
        if reach > length:
            tokens = tokens.extend(reach - length)
        visible = self.mask.dense(tokens, queries, keys, window)
        if keys.stop > queries.stop:  # a static cache has room for keys that nobody has written yet
            visible = visible & (tokens.index[:, None, None, keys] < queries.stop)
        return visible.repeat_interleave(batch // rows, 0) if batch > rows else visible


_active: ContextVar[Plan | None] = ContextVar("mm_plan", default=None)


def active_plan() -> Plan | None:
    return _active.get()


@contextmanager
def activated(plan: Plan | None) -> Iterator[Plan | None]:
    """`plan` is active within; nested contexts restore the outer one, also after an error."""
    token = _active.set(plan)
    try:
        yield plan
    finally:
        _active.reset(token)
