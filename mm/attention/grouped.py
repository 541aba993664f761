"""Rules that move mass, on the fused kernel: masses of cells from LSEs, their outputs added with factors, and Q x N never written out.

A row's output under factors w on its cells is `O' = O + sum_c (w_c - 1) mass_c O_c`, and an idle cell, whose factor is 1, need not be known: one
fused call over all keys gives O and its LSE; cells of a few keys are columns `exp(score - LSE)` written out; a large cell is one more fused call of
the rows that the rules touch, over its own keys.

Where no cell is idle, the largest is the base. Taking the others off the whole would cancel digits: a sink may hold all but a thousandth of a row, of
which a rule then makes nearly everything. So the first call is over the base's keys alone, and `O' = sum_c w_c mass_c O_c` adds parts of one sign.
"""
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mm.attention.backend import Query, repeat_heads
from mm.attention.call import Call
from mm.attention.cells import Cells
from mm.attention.channels import without_keys
from mm.attention.fused import FusedAttention, fits_fused, kernel_inputs
from mm.attention.kernels import attend
from mm.attention.keys import Keys
from mm.attention.part import AttentionPart, softmax_over_groups
from mm.attention.rows import cut, shared_product
from mm.attention.visibility import Visibility

FEW = 64  # keys up to which a cell is columns: its scores cost no more than starting another kernel
TILE = 1024  # rows of a run that are computed at a time, so that what is not kept stays small ...
MASKED = 256  # ... and where a mask over a large cell's keys may have to be written out


@dataclass(frozen=True, eq=False)
class Layout:
    """How each cell is computed. base: by the first call; small: as columns of the keys `few`; large: by a call each. kept: bool [B, 1 or H, N],
    the keys of the base.
    """

    base: int
    small: list[int]
    few: Keys | None
    large: dict[int, Keys]
    kept: Tensor

    @classmethod
    def of(cls, cells: Cells) -> "Layout":
        sizes = cells.sizes()
        base = max(range(cells.count), key=lambda cell: sizes[cell]) if cells.idle is None else cells.idle
        others = [cell for cell in range(cells.count) if cell != base and sizes[cell]]
        small = [cell for cell in others if sizes[cell] <= FEW]
        member = torch.tensor([cell in small for cell in range(cells.count)], device=cells.ids.device)[cells.ids]
        return cls(base, small, Keys.where(member, cells.ids) if small else None,
                   {cell: Keys.where(cells.ids == cell, cells.ids) for cell in others if sizes[cell] > FEW}, cells.ids == base)


def regrouped(call: Call, cells: Cells, runs: list[slice]) -> tuple[Tensor, Iterator[tuple[slice, Tensor]]]:
    """Output [B, H, Q, Dv] of the first call, and windows of its rows with the outputs [B, H, q, Dv] that take their place, precise as masses.

    runs: the rows that the rules touch.
    """
    layout = Layout.of(cells)
    if cells.idle is None:
        first, runs = base_alone(call, layout.kept), [slice(0, call.queries)]
    else:
        first = folded(call.q, call.k, call.v, call.mask, call.causal, call.scale)
    size = TILE if call.mask is None and cells.ids.shape[1] == 1 else MASKED
    return first.out, ((window, of_window(call, cells, layout, window, first)) for window in cut(runs, size))


def base_alone(call: Call, kept: Tensor) -> AttentionPart:
    """Attention over the base's keys only, those True in `kept` [B, 1 or H, N]."""
    if isinstance(call.mask, Visibility):
        if kept.shape[1] > 1:
            return without_keys(call, kept)
        return attend(call.q, call.k, call.v, call.mask.only(kept[:, 0]), scale=call.scale, need_lse=True)
    keys = kept.unsqueeze(2)
    flagged = call.mask is None and call.ahead == 0 and fits_fused(Query(call.q, call.k, call.v, None, True, call.scale, 0.0)) is None
    if not flagged:
        return folded(call.q, call.k, call.v, keys if call.mask is None else keys & call.mask, call.causal, call.scale)
    # A mask of keys beside the kernel's causal flag, which `attend` would merge into one of Q x N.
    qkv = kernel_inputs(call.q, repeat_heads(call.k, call.shared), repeat_heads(call.v, call.shared))
    out, lse = FusedAttention.apply(*qkv, keys, True, call.factor)
    first = torch.where(kept, torch.arange(call.keys, device=kept.device), call.keys).amin(-1, keepdim=True)
    empty = torch.arange(call.queries, device=kept.device) < first
    return AttentionPart(out[..., :call.v.shape[-1]].masked_fill(empty.unsqueeze(-1), 0.0), lse.masked_fill(empty, -torch.inf))


def folded(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | Visibility | None, causal: bool, scale: float | None) -> AttentionPart:
    """`attend` with LSE. In a decoding step heads that share keys become the rows of one product, so that the keys are not repeated."""
    batch, heads, rows, width = q.shape
    shared = heads // k.shape[1]
    if rows > 1 or shared == 1 or isinstance(mask, Visibility):
        return attend(q, k, v, mask, causal, scale, need_lse=True)
    if mask is not None and mask.dim() == 4 and mask.shape[1] > 1:
        mask = mask.expand(-1, heads, 1, -1).reshape(mask.shape[0], -1, shared, mask.shape[-1])
    out, lse = attend(q.reshape(batch, -1, shared, width), k, v, mask, False, scale, need_lse=True)
    assert lse is not None
    return AttentionPart(out.reshape(batch, heads, 1, -1), lse.reshape(batch, heads, 1))


def of_window(call: Call, cells: Cells, layout: Layout, window: slice, first: AttentionPart) -> Tensor:
    """Output [B, H, q, Dv] of a window of rows. first: of the whole call, over all keys where a cell is idle, else over the base's alone."""
    alone = cells.idle is None
    out, lse = (x[:, :, window].to(call.precision) for x in first if x is not None)
    mass: dict[int, Tensor] = {}
    size: dict[int, Tensor] = {}
    columns = None if layout.few is None else Columns.of(call, layout.few, cells.count, window)
    parts = {}
    for cell, keys in layout.large.items():
        parts[cell], size[cell] = over_keys(call, keys, window)
    lses = {cell: part.lse for cell, part in parts.items() if part.lse is not None}
    if alone:
        few = [] if columns is None else [columns.scores.logsumexp(-1)]
        found, total = softmax_over_groups(torch.stack([lse, *few, *lses.values()]))
        out, lse, mass[layout.base] = out * found[0].unsqueeze(-1), total, found[0]
    lse = lse.masked_fill(lse == -torch.inf, 0.0)
    mass |= {cell: (part - lse).exp() for cell, part in lses.items()}
    if columns is not None:
        weights = (columns.scores - lse.unsqueeze(-1)).exp()
        masses = weights @ columns.onehot
        for cell in layout.small:
            mass[cell], size[cell] = masses[..., cell], columns.counts[..., cell]
    if alone:
        size[layout.base] = call.seen(window).to(call.precision) - sum(size.values())
    factors = cells.factors(stacked(mass, cells.count, lse), stacked(size, cells.count, lse), window)
    out = out * factors[layout.base].unsqueeze(-1) if alone else out
    excess = factors if alone else factors - 1.0
    if columns is not None and layout.few is not None:
        gains = excess.permute(1, 2, 3, 0) @ columns.onehot.transpose(-1, -2)
        out = out + shared_product(weights * gains, layout.few.of(call.v, call.shared).to(call.precision))
    for cell, part in parts.items():
        out = out + (excess[cell] * mass[cell]).unsqueeze(-1) * part.out
    return out


def stacked(of_cell: dict[int, Tensor], count: int, like: Tensor) -> Tensor:
    """[C, B, H, q]; 0 for cells that are not there."""
    none = like.new_zeros(()).expand_as(like)
    return torch.stack([of_cell[cell].expand_as(like) if cell in of_cell else none for cell in range(count)])


@dataclass(frozen=True, eq=False)
class Columns:
    """Scores [B, H, q, n] of a window of rows over a few keys, -inf where a row does not see one, and the cell of each key, [B, 1 or H, n, C].

    counts: [B, 1 or H, q or 1, C], how many keys of each cell a row sees.
    """

    scores: Tensor
    counts: Tensor
    onehot: Tensor

    @classmethod
    def of(cls, call: Call, keys: Keys, count: int, window: slice) -> "Columns":
        k = keys.of(call.k, call.shared).to(call.precision)
        scores = shared_product(call.q[:, :, window].to(call.precision) * call.factor, k.transpose(-1, -2))
        onehot = F.one_hot(keys.ids, count).to(call.precision)
        seen = keys.seen(call.pairs(window, keys.index))
        if seen is None:
            return cls(scores, onehot.sum(-2, keepdim=True), onehot)
        return cls(scores.masked_fill(~seen, -torch.inf), seen.to(call.precision) @ onehot, onehot)


def over_keys(call: Call, keys: Keys, window: slice) -> tuple[AttentionPart, Tensor]:
    """Attention of a window of rows over some keys, and how many of them each row sees, [B or 1, 1 or H, q or 1]."""
    keys = keys.first(call.within_reach(window, keys.index))
    seen = keys.seen(None if call.sees(window, keys.index) else call.pairs(window, keys.index))
    part = folded(call.q[:, :, window], keys.of(call.k, call.shared), keys.of(call.v, call.shared), seen, False, call.scale)
    count = torch.tensor([[[len(keys)]]], device=call.q.device) if seen is None else seen.sum(-1)
    return part, count.to(call.precision)
