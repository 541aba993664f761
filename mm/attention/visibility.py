"""Who sees whom in one attention call, as a rule over token maps instead of a tensor over pairs.

The same rule answers for pairs of tokens (`dense`, `mask_mod`) and, through `mm.attention.bounds`, for pairs of blocks (`blocks`, `block_mask`,
`tiles`), so that no form can disagree with another and only what is looked at is ever computed. Shapes: B rows, T tokens, Q queries, K keys.
"""
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from mm.attention.bounds import Truth, by_blocks
from mm.attention.rule import Side, VisibleRule, keys, queries, visible
from mm.attention.tiles import Tile, tiled
from mm.attention.traced import by_index
from mm.tokens import TokenMap

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


class Blocks(NamedTuple):
    """bool [B, ceil(Q / size), ceil(K / size)]. may: some query of the block may see some key of the other. must: all see all."""

    may: Tensor
    must: Tensor


@dataclass(frozen=True, eq=False)
class Visibility:
    """Who sees whom in a call whose queries and keys are parts of one token map.

    rule: e.g. a `mm.masks.Mask`. tokens: [B, T], every token up to the last key, padding counted. queries, keys: absolute indices in `tokens`.
    window: of sliding layers, counted along a token's own path (trunk, then branch); padding is not cut. written: keys at or beyond this index have
    not been written yet (static caches). kept: bool [B, K] over the call's keys; the others are invisible, also to themselves.

    What is derived is kept for the layers that follow, so make one object a forward pass. ValueError where a slice is not within the tokens.
    """

    rule: VisibleRule
    tokens: TokenMap
    queries: slice
    keys: slice
    window: int | None = None
    written: int | None = None
    kept: Tensor | None = None

    def __post_init__(self) -> None:
        length = self.tokens.shape[1]
        for name in ("queries", "keys"):
            part = getattr(self, name)
            start, stop, step = part.indices(length)
            if step != 1 or (part.stop is not None and part.stop != stop) or (part.start is not None and part.start != start):
                raise ValueError(f"{name} {part} is not a part of {length} tokens; give absolute indices of tokens that the map describes")
            object.__setattr__(self, name, slice(start, max(start, stop)))
        if self.kept is not None and tuple(self.kept.shape) != (self.tokens.shape[0], self.shape[3]):
            raise ValueError(f"kept has shape {tuple(self.kept.shape)}; it says of each of {self.tokens.shape[0]} rows and {self.shape[3]} keys "
                             "whether it is kept")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, 1, Q, K), as a dense mask's."""
        return self.tokens.shape[0], 1, self.queries.stop - self.queries.start, self.keys.stop - self.keys.start

    @property
    def device(self) -> torch.device:
        return self.tokens.device

    # Pairs of tokens

    def dense(self, rows: slice = slice(None)) -> Tensor:
        """bool [B, 1, q, K], True where a query sees a key. rows: a part of the call's queries."""
        tile = self._query_side.map(lambda table: table[:, rows])
        seen = self._visible(tile.map(queries), self._key_side.map(keys))
        return seen.expand(self.shape[0], tile.tokens.shape[1], self.shape[3]).unsqueeze(1)

    @cached_property
    def whole(self) -> Tensor:
        """`dense()`, kept: for small problems only."""
        return self.dense()

    def additive(self, dtype: torch.dtype) -> Tensor:
        """[B, 1, Q, K], 0 where a query sees a key and the lowest finite number elsewhere: what eager attention adds, without NaN in empty rows."""
        return torch.zeros(self.shape, dtype=dtype, device=self.device).masked_fill_(~self.dense(), torch.finfo(dtype).min)

    def pairs(self, row: int, rows: slice, columns: Tensor) -> Tensor:
        """bool [q, k] of one row of the batch: its queries `rows` and keys `columns` (indices), both counted within the call."""
        q = self._query_side.map(lambda table: table[row:row + 1, rows])
        k = self._key_side.map(lambda table: table[row:row + 1, columns])
        return self._visible(q.map(queries), k.map(keys)).expand(1, q.tokens.shape[1], len(columns))[0]

    def mask_mod(self) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """The function (b, h, query, key) → bool that flex attention asks, indices counted within the call."""
        return by_index(self.rule, self._query_side, self._key_side, self.window, self._bound)

    # Pairs of blocks

    def blocks(self, size: int = 128) -> Blocks:
        """What is known of pairs of blocks, from bounds of the token tables; from the tokens where the rule asks what they cannot say."""
        try:
            found = self._visible(self._query_side.map(by_blocks(size)).map(queries), self._key_side.map(by_blocks(size)).map(keys))
        except (TypeError, AttributeError):  # an error of the rule itself comes again below
            return self._counted_blocks(size)
        if not isinstance(found, Truth):
            return self._counted_blocks(size)
        shape = self.shape[0], -(-self.shape[2] // size), -(-self.shape[3] // size)
        return Blocks(found.may.expand(shape), found.must.expand(shape))

    def block_mask(self, size: int = 128) -> "BlockMask":
        """Flex attention's map of blocks, laid out as `create_block_mask` does: an unfinished last block is never full."""
        from torch.nn.attention.flex_attention import BlockMask  # importing it takes seconds

        if size not in self._block_masks:
            may, must = self.blocks(size)
            finished = (self._ends(self.shape[2], size) <= self.shape[2])[:, None] & (self._ends(self.shape[3], size) <= self.shape[3])
            full = must & finished
            self._block_masks[size] = BlockMask.from_kv_blocks(*in_order(may & ~full), *in_order(full), BLOCK_SIZE=size, mask_mod=self.mask_mod(),
                                                               seq_lengths=self.shape[2:])
        return self._block_masks[size]

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """The call cut into tiles of queries, each with the runs of keys that it may see and a mask only where one is needed."""
        return tuple(tiled(self))

    # What needs no mask

    @cached_property
    def is_plain(self) -> bool:
        """The kernel's causal flag says the same: a causal rule, queries that are the last keys, rows of one document on one path, no padding."""
        if not (self.rule.is_causal and self.kept is None and self.queries.stop == self.keys.stop and self.queries.start >= self.keys.start):
            return False
        if self._slides or self._bound is not None:
            return False
        tokens = self.tokens[:, self.keys]
        return bool(tokens.is_real.all()) and tokens.is_chain

    def sees_all(self) -> bool:
        """Every query sees every key, as in most decoding steps: no mask is needed. False of large calls where only their tokens could tell."""
        return self._sees_all

    def varlen(self) -> Tensor | None:
        """Where each document begins in the flattened rows, and the end, int32 [documents + 1]; None unless that and causality say everything.

        A padding token counts as a document of its own. A window still has to be applied.
        """
        return self._starts

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest document of `varlen`. ValueError where that is None."""
        if self._starts is None:
            raise ValueError("the rows are more than causal documents one after another, so none of them is the longest")
        return int(self._starts.diff().max())

    # Other calls

    def only(self, kept: Tensor) -> "Visibility":
        """The same, of the keys `kept` (bool [B, K]) alone."""
        return replace(self, kept=kept if self.kept is None else kept & self.kept)

    def repeat_rows(self, times: int) -> "Visibility":
        """Each row `times` times in order, as beams and several returned sequences are laid out."""
        if times == 1:
            return self
        return replace(self, tokens=self.tokens.repeat_rows(times), kept=None if self.kept is None else self.kept.repeat_interleave(times, 0))

    def _visible(self, q: Side, k: Side) -> Any:
        return visible(self.rule, q, k, self.window, self._bound)

    @cached_property
    def _query_side(self) -> Side:
        return Side(self.tokens[:, self.queries], None if self._depth is None else self._depth[:, self.queries])

    @cached_property
    def _key_side(self) -> Side:
        return Side(self.tokens[:, self.keys], None if self._depth is None else self._depth[:, self.keys], self.kept)

    @cached_property
    def _depth(self) -> Tensor | None:
        return self.tokens.depth if self._slides else None

    @property
    def _slides(self) -> bool:
        return self.window is not None and self.window < self.keys.stop

    @property
    def _bound(self) -> int | None:
        """`written`, where it hides anything."""
        return self.written if self.written is not None and self.written < self.keys.stop else None

    @cached_property
    def _sees_all(self) -> bool:
        small = self.shape[2] * self.shape[3] <= 128 * 128
        return bool((self.whole if small else self.blocks().must).all())

    @cached_property
    def _starts(self) -> Tensor | None:
        tokens = self.tokens[:, self.queries]
        if not self.rule.is_causal or self.queries != self.keys or self.kept is not None or self._bound is not None:
            return None
        document = tokens.document
        left = torch.cat([torch.full_like(document[:, :1], -2), document[:, :-1]], dim=1)
        starts = (document != left) | ~tokens.is_real
        again = starts & tokens.is_real & (document <= left.cummax(1).values)  # a document in two pieces
        if bool((again | (tokens.branch != 0)).any()):
            return None
        ends = torch.tensor([document.numel()], device=document.device)
        return torch.cat([starts.flatten().nonzero().flatten(), ends]).int()

    @cached_property
    def _block_masks(self) -> "dict[int, BlockMask]":
        return {}

    def _ends(self, length: int, size: int) -> Tensor:
        """Where each block of `size` ends, [ceil(length / size)]."""
        return torch.arange(size, length + size, size, device=self.device)

    def _counted_blocks(self, size: int) -> Blocks:
        """`blocks` from the tokens: one row of blocks at a time, so memory stays O(K)."""
        batch, _, rows, columns = self.shape
        may, must = [], []
        for start in range(0, rows, size):
            seen = self.dense(slice(start, start + size))[:, 0]
            some, all_ = seen.any(1), seen.all(1)
            short = -columns % size
            may.append(torch.nn.functional.pad(some, (0, short), value=False).view(batch, -1, size).any(-1))
            must.append(torch.nn.functional.pad(all_, (0, short), value=True).view(batch, -1, size).all(-1))
        return Blocks(torch.stack(may, 1), torch.stack(must, 1))


def in_order(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """A map of blocks [B, q, k] as flex attention reads it: how many in each row, [B, 1, q], and which, these first, [B, 1, q, k]; int32."""
    count = blocks.sum(-1, dtype=torch.int32)
    index = blocks.int().argsort(dim=-1, descending=True, stable=True).int()
    return count.unsqueeze(1).contiguous(), index.unsqueeze(1).contiguous()
