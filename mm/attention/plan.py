"""What is to be active while a model reads: levers, and the map of the prompt where the caller has one.

A plan is delivered to attention as a `Reading` that travels through the layers as an argument of the forward call: a layer that is recomputed under
gradient checkpointing runs after any context has gone. Only `generate`, which refuses arguments that it does not know, finds its plan in a context
variable.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from mm.attention.record import Recorder
from mm.attention.rule import VisibleRule
from mm.tokens import TokenMap


class MaskLever(VisibleRule, Protocol):
    """What a plan needs of a mask; `mm.masks.Mask` provides it."""

    def check(self, tokens: TokenMap) -> None: ...


class PositionsLever(Protocol):
    """What a plan needs of positions; `mm.positions.Positions` provides it."""

    def assign(self, tokens: TokenMap) -> Tensor: ...


class RuleLever(Protocol):
    """What a plan needs of a rule inside attention; `mm.reweight.Rule` provides it."""

    needs: frozenset[Literal["hidden", "columns"]]
    decoded_group: int

    @property
    def is_neutral(self) -> bool: ...

    def applies(self, layer: int) -> bool: ...

    def rows(self, tokens: TokenMap) -> Tensor: ...

    def head_mask(self, layer: int, heads: int) -> Tensor | None: ...

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor | None: ...

    def acts_on(self, groups: Tensor) -> bool: ...


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
    rules: tuple[RuleLever, ...] | None = None


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
