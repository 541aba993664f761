"""A rule about who sees whom, and what one call adds to it: one formula for tokens, for blocks of tokens and for single indices."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from mm.tokens import TokenMap


class VisibleRule(Protocol):
    """What is asked of a mask; `mm.masks.Mask` provides it.

    visible: two token maps whose tables broadcast against each other → bool, or `mm.attention.bounds.Truth` where the tables are bounds of blocks.
    is_causal: within a document without branches it is exactly "not later", and nothing across documents.
    """

    @property
    def is_causal(self) -> bool: ...

    def visible(self, q: TokenMap, k: TokenMap) -> Tensor: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Side:
    """The queries or the keys of a call: their tokens, and what the call says of each. depth: along its path, for windows. kept: whether seen."""

    tokens: TokenMap
    depth: Any = None
    kept: Any = None

    def map(self, function: Callable[[Tensor], Any]) -> "Side":
        """The side whose tables are `function` of these; what stands in for a table is the function's business."""
        return Side(self.tokens.map(function), *(None if table is None else function(table) for table in (self.depth, self.kept)))

    def tables(self) -> list[Tensor]:
        """Its tables, in the order in which `map` meets them."""
        tables: list[Tensor] = []

        def keep(table: Tensor) -> Tensor:
            tables.append(table)
            return table

        self.map(keep)
        return tables


def visible(rule: VisibleRule, q: Side, k: Side, window: int | None, written: int | None) -> Any:
    """Whether q sees k, in the shape and kind of the sides' tables. window: used where the sides know their depth; padding is not cut."""
    seen: Any = rule.visible(q.tokens, k.tokens)
    if window is not None and q.depth is not None:
        seen = seen & ((q.depth - k.depth < window) | ~q.tokens.is_real)
    if written is not None:
        seen = seen & (k.tokens.index < written)
    return seen if k.kept is None else seen & k.kept


def queries(table: Any) -> Any:
    """[B, N] → [B, N, 1], which broadcasts against `keys`."""
    return table.unsqueeze(-1)


def keys(table: Any) -> Any:
    """[B, N] → [B, 1, N], which broadcasts against `queries`."""
    return table.unsqueeze(-2)
