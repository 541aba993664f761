"""Columns of the text map for chosen words alone, `exp(q k_w / sqrt(d) - LSE)`: P x |words| and never P x K.

For edited rows, the columns as the edit leaves them, from the source's and the row's own: `A_0 S[:, w] + A_e[:, w] d_w`.
"""
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mm.attention import attend
from mm.attention.backend import repeat_heads
from mm.diffusion.observer import View
from mm.diffusion.operands import RowEdit, operands, row_sums

Recorded = Literal["edited", "raw"]
"""Whether edited rows are seen as the edits leave them or as they would be without."""

Groups = Sequence[Sequence[int]]
"""Words as the indices of their tokens on the text axis; a word's column is the sum of its tokens'."""


def word_columns(view: View, row: int, groups: Groups, recorded: Recorded = "edited") -> Tensor:
    """[P, |groups|] of one row, mean over heads, float32 (float64 for float64); differentiable. P: the site's height x width."""
    edit = next((edit for edit in view.edits if edit.row == row), None) if recorded == "edited" else None
    keys = view.call.k.shape[2] if view.axes.text is None else view.axes.text.stop - view.axes.text.start
    chosen = torch.zeros(keys, len(groups), device=view.call.q.device, dtype=_precision(view.call.q))
    for index, group in enumerate(groups):
        if any(not 0 <= token < keys for token in group):
            raise ValueError(f"word {index} has tokens {list(group)}, and {view.site.name!r} reads {keys} text keys; count them from 0")
        chosen[list(group), index] = 1
    with torch.autocast(view.call.q.device.type, enabled=False):  # scores in half precision and an LSE in full do not go together
        if edit is None or edit.is_neutral:
            return _shares(view, view.call.q[row], view.call.k[row], row, chosen)
        return _edited(view, edit, chosen)


def _edited(view: View, edit: RowEdit, chosen: Tensor) -> Tensor:
    """Columns as the edit leaves them."""
    columns, call = edit.columns, view.call
    own = chosen if columns.own is None else chosen * columns.own.to(chosen)[:, None]
    scale = row_sums(call, view.axes, edit) if columns.normalised else None
    q, k = operands(call, view.axes, edit)
    result = _shares(view, q, k, edit.row, own, scale)
    if columns.source is not None:
        from_source = columns.source.to(chosen) @ chosen
        result = result + _shares(view, call.q[edit.source], call.k[edit.source], edit.source, from_source, scale)
    return result


def _shares(view: View, q: Tensor, k: Tensor, mask_row: int, weights: Tensor, total: Tensor | None = None) -> Tensor:
    """Mean over heads of `A weights`, [P, n], of which only columns with a weight are computed. total: [H, P] divides rows."""
    call, axes = view.call, view.axes
    tokens = weights.any(1).nonzero()[:, 0]
    q = q[:, axes.queries][:, :view.site.pixels]
    scale = q.shape[-1] ** -0.5 if call.scale is None else call.scale
    mask = _mask(view, mask_row)
    seen = {"mask": mask} if mask is None or mask.dtype == torch.bool else {"log_bias": mask}
    lse = attend(q[None], k[None], k[None], scale=scale, need_lse=True, **seen).lse
    assert lse is not None
    start = axes.text.start if axes.text is not None else 0
    picked = repeat_heads(k[None, :, start + tokens], q.shape[0] // k.shape[0])[0]
    logits = (q.to(weights.dtype) * scale) @ picked.to(weights.dtype).transpose(-1, -2)
    if mask is not None:
        part = mask.expand(1, q.shape[0], q.shape[1], -1)[0][..., start + tokens]
        logits = logits.masked_fill(~part, -torch.inf) if part.dtype == torch.bool else logits + part
    maps = (logits - lse[0, ..., None].to(logits.dtype)).exp()
    if total is not None:
        maps = maps / total[:, :view.site.pixels, None].to(maps.dtype)
    return maps.mean(0) @ weights[tokens]


def _mask(view: View, row: int) -> Tensor | None:
    """[1, 1 or H, 1 or P, K] of the row, for the picture's queries."""
    mask = view.call.mask
    if mask is None:
        return None
    mask = mask[(None,) * (4 - mask.dim())]
    mask = mask[row:row + 1] if mask.shape[0] > 1 else mask
    return mask if mask.shape[2] == 1 else mask[:, :, view.axes.queries][:, :, :view.site.pixels]


def _precision(like: Tensor) -> torch.dtype:
    return torch.float64 if like.dtype == torch.float64 else torch.float32
