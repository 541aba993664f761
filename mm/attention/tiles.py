"""A call cut into tiles of queries, each with the runs of keys that it sees, and a mask only over those that some of its queries do not see."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mm.attention.visibility import Visibility

BLOCK = 128  # what is known of the keys beforehand is known of blocks of this many
ROWS = 256  # queries of a tile: fewer cut closer, more fill the kernel better (`python -m bench.masks`)
KEPT = 1024  # a tile with more uncertain keys than this builds its mask at each use; the others keep theirs for the layers that follow


@dataclass(frozen=True, eq=False)
class Tile:
    """Queries `rows` of row `row` of the batch, and all that they see.

    runs: disjoint slices of the call's keys, in order. partial: those of these keys that not every query sees, as slices counted along joined runs.
    kept: which of the partial keys each query does not see, bool [q, partial keys]; None where that is too much to keep.
    """

    visibility: "Visibility"
    row: int
    rows: slice
    runs: tuple[slice, ...]
    partial: tuple[slice, ...]
    kept: Tensor | None

    def hidden(self) -> Tensor:
        """Which of the partial keys each query does not see, bool [q, partial keys]."""
        if self.kept is not None:
            return self.kept
        keys = torch.cat([torch.arange(run.start, run.stop, device=self.visibility.device) for run in self.runs])
        return ~self.visibility.pairs(self.row, self.rows, torch.cat([keys[part] for part in self.partial]))

    def gather(self, table: Tensor) -> Tensor:
        """This row's entries of the runs, [B, H, K, D] → [1, H, k, D]; a view where one run is all."""
        pieces = [table[self.row:self.row + 1, :, run] for run in self.runs]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)

    def add(self, table: Tensor, value: Tensor) -> None:
        """Adds `value` [1, H, k, D] to the runs' entries of `table` [B, H, K, D]: the transpose of `gather`."""
        for run, piece in zip(self.runs, value.split([length(run) for run in self.runs], dim=2), strict=True):
            table[self.row:self.row + 1, :, run] += piece


def tiled(visibility: "Visibility") -> Iterator[Tile]:
    """The tiles of a call; queries that see nothing are in none. Neighbours that see the same keys whole are one tile, however large."""
    may, must = visibility.blocks(BLOCK)
    for row in range(visibility.shape[0]):
        ahead: Tile | None = None
        for tile in tiles_of(visibility, row, may[row], must[row]):
            if ahead is not None and not ahead.partial and not tile.partial and ahead.runs == tile.runs:
                ahead = replace(ahead, rows=slice(ahead.rows.start, tile.rows.stop))
                continue
            if ahead is not None and ahead.runs:
                yield ahead
            ahead = tile
        if ahead is not None and ahead.runs:
            yield ahead


def tiles_of(visibility: "Visibility", row: int, may: Tensor, must: Tensor) -> Iterator[Tile]:
    """Tiles of `ROWS` queries. Blocks that are not known to be seen whole or not at all are looked at key by key: most of their keys are either."""
    _, _, rows, keys = visibility.shape
    for start in range(0, may.shape[0], ROWS // BLOCK):
        blocks = slice(start, start + ROWS // BLOCK)
        seen, whole = (known.repeat_interleave(BLOCK)[:keys] for known in (may[blocks].any(0), must[blocks].all(0)))
        queries, unsure, hidden = slice(start * BLOCK, min(start * BLOCK + ROWS, rows)), seen & ~whole, None
        candidates = unsure.nonzero().flatten()
        if 0 < len(candidates) <= KEPT:
            hidden = ~visibility.pairs(row, queries, candidates)
            some, all_ = hidden.any(0), hidden.all(0)
            seen[candidates], unsure[candidates] = ~all_, some & ~all_
            hidden = hidden[:, some & ~all_]
        yield Tile(visibility, row, queries, spans(seen), spans(unsure[seen]), hidden)


def spans(chosen: Tensor) -> tuple[slice, ...]:
    """The entries of `chosen`, bool [N], as slices."""
    edges = torch.nn.functional.pad(chosen.int(), (1, 1)).diff().nonzero().flatten().tolist()
    return tuple(slice(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True))


def length(part: slice) -> int:
    return part.stop - part.start


def total(parts: Sequence[slice]) -> int:
    return sum(map(length, parts))
