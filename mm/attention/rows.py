"""Chosen rows of an attention, written out: scores, weights, and what rules make of them, a window of rows at a time.

It serves every rule and is the cheapest form where rows are few; memory is O(window x N).
"""
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mm.attention.active import Active, bends_rows, chooses_keys, scales_scores
from mm.attention.call import Call
from mm.attention.cells import Cells
from mm.attention.choice import Choice
from mm.attention.scaled import score_factors

WEIGHTS = 2**19  # of a window, over batch and heads: a few megabytes ...
FEWEST = 32  # ... unless its rows become so few that reading the keys again and again is what takes the time


def windows(rows: Tensor, q: Tensor, keys: int) -> list[slice]:
    """Runs of the rows that are True in `rows` [Q], cut so that a window's weights stay small."""
    return cut(runs(rows), max(FEWEST, WEIGHTS // (q.shape[0] * q.shape[1] * max(keys, 1))))


def cut(runs: list[slice], size: int) -> list[slice]:
    """The runs in pieces of at most `size` rows."""
    return [slice(start, min(start + size, run.stop)) for run in runs for start in range(run.start, run.stop, size)]


def runs(rows: Tensor) -> list[slice]:
    """Where `rows`, bool [Q], is True, as runs."""
    edges = F.pad(rows.to(torch.int8), (1, 1)).diff().nonzero().flatten().tolist()
    return [slice(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def written_out(call: Call, actives: list[Active], cells: Cells | None, where: list[slice]) -> Iterator[tuple[slice, Tensor]]:
    """Each window with its outputs [B, H, q, Dv], precise as masses. Gradients recompute a window's weights rather than keep those of all."""
    bends = [active for active in actives if bends_rows(active.rule)]
    scales = [score_factors(active, call) for active in actives if scales_scores(active.rule)]
    k, v = (x.to(call.precision).contiguous() for x in (call.k, call.v))
    onehot = None if cells is None else cells.onehot(call.precision)
    choice = next((Choice(call, active) for active in actives if chooses_keys(active.rule)), None)

    def window(rows: slice, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return one_window(call, bends, scales, choice, cells, onehot, rows, q, k, v)

    kept = len(where) == 1 or not (torch.is_grad_enabled() and any(x.requires_grad for x in (call.q, k, v)))
    return ((rows, window(rows, call.q, k, v) if kept else checkpoint(window, rows, call.q, k, v, use_reentrant=False)) for rows in where)


def one_window(call: Call, bends: list[Active], scales: list[Tensor], choice: Choice | None, cells: Cells | None, onehot: Tensor | None,
               rows: slice, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    stop = call.reach(rows)
    seen = call.visible(rows, stop)
    scores = shared_product(q[:, :, rows].to(k.dtype) * call.factor, k[:, :, :stop].transpose(-1, -2))
    for factors in scales:
        scores = scores * factors[..., :stop].unsqueeze(2)
    if choice is not None:
        scores = scores + choice.over_heads()[..., :stop].unsqueeze(2)
        seen = choice.seen(rows, stop)
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    for active in bends:
        scores = bent(active, call, rows, stop, scores)
    silenced = any(bends_rows(active.rule) and active.rule.silences for active in bends)
    weights = softmax(scores, ~scores.isneginf() if silenced else seen)
    if cells is not None and onehot is not None:
        onehot = onehot[:, :, :stop]
        mass = (weights @ onehot).permute(3, 0, 1, 2)
        factors = cells.factors(mass, visible_sizes(seen, onehot), rows)
        weights = weights * (factors.permute(1, 2, 3, 0) @ onehot.transpose(-1, -2))
    return shared_product(weights, v[:, :, :stop])


def shared_product(rows: Tensor, keys: Tensor) -> Tensor:
    """rows [B, H, q, x] @ keys [B, Hk, x, y] → [B, H, q, y]; heads that share keys become the rows of one product, so keys are not repeated."""
    batch, heads, count, width = rows.shape
    shared = heads // keys.shape[1]
    if shared == 1:
        return rows @ keys
    return (rows.reshape(batch, keys.shape[1], shared * count, width) @ keys).view(batch, heads, count, -1)


def softmax(scores: Tensor, seen: Tensor | None) -> Tensor:
    """Weights; 0 in rows that see nothing."""
    if seen is None:
        return scores.softmax(-1)
    empty = ~seen.any(-1, keepdim=True)
    return scores.masked_fill(empty, 0.0).softmax(-1).masked_fill(empty, 0.0)


def visible_sizes(seen: Tensor | None, onehot: Tensor) -> Tensor:
    """Keys of each cell that each row sees, [C, B, 1 or H, q or 1]."""
    counts = onehot.sum(-2, keepdim=True) if seen is None else seen.to(onehot.dtype) @ onehot
    return counts.permute(3, 0, 1, 2)


def bent(active: Active, call: Call, rows: slice, stop: int, scores: Tensor) -> Tensor:
    rule = active.rule
    assert bends_rows(rule)
    length = call.tokens.shape[1]
    keys = call.tokens if stop == length else call.tokens[:, length - call.keys:length - call.keys + stop]
    groups = None if active.groups is None else active.key_groups(length, call.keys)[..., :stop]
    found = rule.logits(scores, call.tokens[:, call.start + rows.start:call.start + rows.stop], keys, groups)
    touched = active.touched(rows, scores.device)
    return found if touched is None else torch.where(touched, found, scores)
