"""Dense attention written out: the reference that every kernel must equal, in forward and gradients."""
import torch
from torch import Tensor

from mm.attention.backend import Backend, Query, repeat_heads
from mm.attention.part import AttentionPart


def scores(q: Tensor, k: Tensor, scale: float | None = None) -> Tensor:
    """Scaled dot products [B, H, Q, N], in float32 or float64; key heads are shared by consecutive query heads."""
    precision = torch.float64 if q.dtype == torch.float64 else torch.float32
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    with torch.autocast(q.device.type, enabled=False):
        return (q.to(precision) * scale) @ repeat_heads(k, q.shape[1] // k.shape[1]).to(precision).transpose(-1, -2)


class Reference(Backend):
    """Materialises Q x N. Differentiable to any order, exact in every case; for tests, odd shapes and small problems."""

    def __call__(self, query: Query, need_lse: bool) -> AttentionPart:
        logits = scores(query.q, query.k, query.scale)
        if query.bias is not None:
            logits = logits + query.bias.to(logits.dtype)
        mask = query.dense_mask()
        if mask is not None:
            logits = logits.masked_fill(~mask, -torch.inf)
        # The LSE itself, because a maximum over no keys is an error; detached, since shifting changes nothing.
        peak = logits.detach().logsumexp(-1, keepdim=True).clamp(min=torch.finfo(logits.dtype).min)
        weights = (logits - peak).exp()
        total = weights.sum(-1, keepdim=True)
        empty = total == 0
        total = total.masked_fill(empty, 1.0)  # 0 / 1 instead of 0 / 0: no NaN, neither here nor in gradients
        lse = (total.log() + peak).masked_fill(empty, -torch.inf).squeeze(-1) if need_lse else None
        weights = weights / total
        if query.dropout:
            weights = torch.nn.functional.dropout(weights, query.dropout)
        with torch.autocast(query.q.device.type, enabled=False):
            out = weights @ repeat_heads(query.v, query.groups).to(weights.dtype)
        return AttentionPart(out.to(query.q.dtype), lse)
