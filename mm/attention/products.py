"""Attention as two matrix products, for short rows that train in low precision on a CPU.

There the fused kernel's backward costs several times its forward: at 168 tokens, 4 heads of width 32 and bfloat16, forward and backward together take
a third of its time this way (`python -m bench.products`). The weights, Q×N numbers a head, are kept for backward: rows must be short.
"""
import torch
from torch import Tensor

from mm.attention.backend import Backend, Query, repeat_heads
from mm.attention.part import AttentionPart

LONGEST = 768 * 768  # Q·N beyond which the fused kernel is faster again


class Products(Backend):
    """softmax(QKᵀ)V with the weights materialised; bfloat16 and float16, CPU, with gradients, no LSE."""

    def refuses(self, query: Query, need_lse: bool) -> str | None:
        q, k, v = query.q, query.k, query.v
        if q.device.type != "cpu" or need_lse or query.dropout or (query.scale is not None and query.scale <= 0):
            return "it serves plain attention on a CPU, without LSE and dropout"
        if query.bias is not None:
            return "it knows no bias"
        if not (torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)):
            return "without gradients the fused kernel is as fast and keeps no weights"
        if precision(q) not in (torch.bfloat16, torch.float16):
            return "in single and double precision the fused kernel is as fast and keeps no weights"
        if q.shape[2] * k.shape[2] > LONGEST:
            return f"{q.shape[2]} queries by {k.shape[2]} keys are more than {LONGEST} weights a head"
        return None

    def __call__(self, query: Query, need_lse: bool) -> AttentionPart:
        dtype = precision(query.q)
        q, k, v = (x.to(dtype) for x in (query.q, query.k, query.v))
        scale = q.shape[-1] ** -0.5 if query.scale is None else query.scale
        scores = torch.matmul(q * scale, repeat_heads(k, query.groups).transpose(-1, -2))
        mask = query.dense_mask()
        if mask is not None:  # adding is cheaper in backward than filling
            scores = scores + torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
        out = torch.matmul(torch.softmax(scores, dim=-1), repeat_heads(v, query.groups))
        if mask is not None and not (seeing := mask.any(-1, keepdim=True)).all():
            out = out * seeing  # a row that sees nothing is 0
        return AttentionPart(out, None)


def precision(x: Tensor) -> torch.dtype:
    """The dtype in which autocast, if it is on, would multiply `x`."""
    if torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
