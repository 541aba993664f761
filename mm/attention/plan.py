"""What is to be active while a model reads: levers, and the map of the prompt where the caller has one.

A plan is delivered to attention as a `Reading` that travels through the layers as an argument of the forward call: a layer that is recomputed under
gradient checkpointing runs after any context has gone. The plan itself lies on a steered model; for a model that is only on the seam, as `mm.VLM`'s
decoder is while it generates, a context variable holds it.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from mm.attention.active import LayerRule
from mm.attention.record import Recorder
from mm.attention.rule import VisibleRule
from mm.tokens import TokenMap


class MaskLever(VisibleRule, Protocol):
    """What a plan needs of a mask; `mm.masks.Mask` provides it."""

    def check(self, tokens: TokenMap) -> None: ...


class PositionsLever(Protocol):
    """What a plan needs of positions; `mm.positions.Positions` provides it."""

    def assign(self, tokens: TokenMap) -> Tensor: ...


@dataclass(frozen=True)
class Plan:
    """Levers, None where the model keeps its own.

    mask: who sees whom. tokens: the padded prompt, [B, N], which decoded tokens continue as answer text; None where the map follows from what the
    model reads. recorder: watches the weights of a few rows. positions: where tokens are. rules: what moves attention, in order.
    """

    mask: MaskLever | None = None
    tokens: TokenMap | None = None
    recorder: Recorder | None = None
    positions: PositionsLever | None = None
    rules: tuple[LayerRule, ...] | None = None


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
