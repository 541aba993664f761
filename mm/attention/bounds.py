"""Interval arithmetic on token tables, so that a rule about two tokens answers for two blocks of tokens at once.

A table's block is known by its smallest and largest entry (`Bounds`); comparing two blocks says whether some pair may fulfil the comparison and
whether every pair must (`Truth`, Kleene's three-valued logic). Both stand in for the tensors of a `TokenMap`, and the very rule that masks single
tokens is evaluated on them: as many numbers as there are blocks, never Q x N. What may be is over-approximated and what must be under-approximated,
never the other way round. Anything that the arithmetic does not know is a TypeError; whoever asked then evaluates the rule on the tokens themselves.
"""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Truth:
    """may: some pair of the two blocks fulfils it, or it is not known that none does. must: all pairs do. bool tensors of one shape."""

    may: Tensor
    must: Tensor

    def __and__(self, other: "Truth") -> "Truth":
        return Truth(self.may & truth(other).may, self.must & truth(other).must)

    def __or__(self, other: "Truth") -> "Truth":
        return Truth(self.may | truth(other).may, self.must | truth(other).must)

    def __invert__(self) -> "Truth":
        return Truth(~self.must, ~self.may)

    def __eq__(self, other: object) -> "Truth":  # type: ignore[override]
        return (self & truth(other)) | (~self & ~truth(other))

    def __ne__(self, other: object) -> "Truth":  # type: ignore[override]
        return ~(self == other)

    def __bool__(self) -> bool:
        raise TypeError("whether two blocks see each other is no single bool; combine with & | ~")

    def unsqueeze(self, dim: int) -> "Truth":
        return Truth(self.may.unsqueeze(dim), self.must.unsqueeze(dim))


@dataclass(frozen=True, eq=False)
class Bounds:
    """low, high: smallest and largest entry of each block, integer tensors of one shape. Knows comparisons, + - // abs and clamp."""

    low: Tensor
    high: Tensor

    def __lt__(self, other: "Bounds | int") -> Truth:
        other = bounds(other)
        return Truth(self.low < other.high, self.high < other.low)

    def __le__(self, other: "Bounds | int") -> Truth:
        other = bounds(other)
        return Truth(self.low <= other.high, self.high <= other.low)

    def __gt__(self, other: "Bounds | int") -> Truth:
        return ~(self <= other)

    def __ge__(self, other: "Bounds | int") -> Truth:
        return ~(self < other)

    def __eq__(self, other: object) -> Truth:  # type: ignore[override]
        other = bounds(other)
        return Truth((self.low <= other.high) & (other.low <= self.high), (self.low == other.high) & (self.high == other.low))

    def __ne__(self, other: object) -> Truth:  # type: ignore[override]
        return ~(self == other)

    def __neg__(self) -> "Bounds":
        return Bounds(-self.high, -self.low)

    def __add__(self, other: "Bounds | int") -> "Bounds":
        other = bounds(other)
        return Bounds(self.low + other.low, self.high + other.high)

    def __sub__(self, other: "Bounds | int") -> "Bounds":
        return self + -bounds(other)

    __radd__ = __add__

    def __rsub__(self, other: "Bounds | int") -> "Bounds":
        return -self + other

    def __floordiv__(self, divisor: int) -> "Bounds":
        if not isinstance(divisor, int) or divisor < 1:
            raise TypeError(f"block bounds are divided by positive ints, not by {divisor!r}")
        return Bounds(self.low // divisor, self.high // divisor)

    def __abs__(self) -> "Bounds":
        return self.abs()

    def abs(self) -> "Bounds":
        near, far = torch.minimum(self.low.abs(), self.high.abs()), torch.maximum(self.low.abs(), self.high.abs())
        return Bounds(near.masked_fill((self.low <= 0) & (self.high >= 0), 0), far)

    def clamp(self, min: int | None = None, max: int | None = None) -> "Bounds":
        return Bounds(self.low.clamp(min, max), self.high.clamp(min, max))

    def __bool__(self) -> bool:
        raise TypeError("a block of tokens is no single bool; compare it")

    def unsqueeze(self, dim: int) -> "Bounds":
        return Bounds(self.low.unsqueeze(dim), self.high.unsqueeze(dim))


def bounds(value: object) -> Bounds:
    """An int as bounds; bounds as they are. TypeError for the rest: a tensor over tokens has no place among blocks, even where it would broadcast."""
    if isinstance(value, Bounds):
        return value
    if isinstance(value, int):
        return Bounds(torch.tensor(value), torch.tensor(value))
    raise TypeError(f"block bounds compare with ints and other bounds, not with {type(value).__name__}")


def truth(value: object) -> Truth:
    """TypeError unless `value` is the answer of a comparison of blocks."""
    if isinstance(value, Truth):
        return value
    raise TypeError(f"block answers combine with other block answers, not with {type(value).__name__}")


def by_blocks(size: int) -> Callable[[Tensor], Any]:
    """The function that turns a table [B, N] into what is known of its blocks of `size`, [B, ceil(N / size)]: `Truth` of a bool table, else `Bounds`.

    Returns Any because the result stands in for the table in a `TokenMap`.
    """
    def of(table: Tensor) -> Any:
        short = -table.shape[1] % size
        if short:  # the last block repeats its last entry, which changes neither bound
            table = torch.cat([table, table[:, -1:].expand(-1, short)], dim=1)
        blocks = table.reshape(table.shape[0], -1, size)
        if table.dtype == torch.bool:
            return Truth(blocks.any(-1), blocks.all(-1))
        return Bounds(*torch.aminmax(blocks, dim=-1))
    return of
