"""The fused kernels' (O, LSE) with the exact gradient through LSE, by the ones-column form over the stock backward.

With dO and dLSE coming in, the gradient of the scores is `P * (dO V' - (delta - dLSE))`, where `delta = rowsum(dO * O)` is all that the backward
kernel takes from O. More columns with dO = 1, O = -dLSE (in sum) and Q = K = V = 0 turn its delta into delta - dLSE and add nothing else.
"""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mm.attention.backend import Query

ALIGNMENT = 8  # kernels want head widths in multiples of this
aten = torch.ops.aten


def fits_fused(query: Query) -> str | None:
    """Why the fused kernel with LSE cannot take `query`; None if it can."""
    device, dtype = query.q.device.type, query.q.dtype
    if query.dropout:
        return "attention dropout: the LSE of a dropped row has no meaning"
    if device not in ("cpu", "cuda"):
        return f"no fused kernel with LSE on {device}"
    if device == "cuda" and dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"the CUDA kernel knows no {dtype}"
    if 0 in query.q.shape or 0 in query.k.shape:
        return "nothing to attend from or to"
    return None


class FusedAttention(torch.autograd.Function):
    """(q, k, v [B, H, ., D] of one width and dtype, mask, causal, scale) → out [B, H, Q, D], lse [B, H, Q]."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
        bias = None if mask is None else additive(mask, q, k)
        out, raw, *random = forward_kernel(q, k, v, bias, causal, scale)
        ctx.save_for_backward(q, k, v, mask, out, raw, *random)
        ctx.causal, ctx.scale = causal, scale
        ctx.set_materialize_grads(False)
        lse = raw[..., :q.shape[2]]  # the CUDA kernel pads rows
        if mask is None:
            return out, lse.clone()
        empty = ~mask.any(-1)
        # The kernels disagree about a row that sees nothing (0 on CPU); the pair of an empty group is (0, -inf).
        return out.masked_fill(empty.unsqueeze(-1), 0.0), lse.masked_fill(empty, -torch.inf)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor | None, d_lse: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, mask, out, raw, *random = ctx.saved_tensors
        bias = None if mask is None else additive(mask, q, k)
        if d_out is None and d_lse is None:
            return (None,) * 6
        d_out = torch.zeros_like(out) if d_out is None else d_out.to(out.dtype)
        width = q.shape[-1]
        if d_lse is not None:
            if mask is not None:
                d_lse = d_lse.masked_fill(~mask.any(-1), 0.0)
            q, k, v = (F.pad(x, (0, ALIGNMENT)) for x in (q, k, v))
            out = torch.cat([out, columns(-d_lse, out.dtype)], -1)
            d_out = F.pad(d_out, (0, ALIGNMENT), value=1.0)
        grads = backward_kernel(d_out, q, k, v, bias, out, raw, random, ctx.causal, ctx.scale)
        return *(grad[..., :width] for grad in grads), None, None, None


def columns(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Columns in `dtype` whose sum is `value`, [..., ALIGNMENT]: the leftover of each rounding goes to the next column, so bfloat16 loses nothing."""
    parts = []
    for _ in range(ALIGNMENT):
        parts.append(value.to(dtype))
        value = value - parts[-1].to(value.dtype)
    return torch.stack(parts, -1)


def additive(mask: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """0 where a row sees a key, -inf elsewhere, in q's dtype, viewable as [B, H, Q, N]."""
    batch, heads, rows, columns = *q.shape[:3], k.shape[2]
    bias = torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill_(~mask, -torch.inf)
    if q.is_cuda and columns % ALIGNMENT:  # its rows must start on aligned addresses
        bias = F.pad(bias, (0, ALIGNMENT - columns % ALIGNMENT))[..., :columns]
    return bias.expand(batch, heads, rows, columns)


def forward_kernel(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool, scale: float) -> tuple[Tensor, ...]:
    """out, lse, and on CUDA the two tensors of the random state that its backward asks for."""
    if q.is_cuda:
        return aten._scaled_dot_product_efficient_attention(q, k, v, bias, True, 0.0, causal, scale=scale)
    return aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, attn_mask=bias, scale=scale)


def backward_kernel(d_out: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, out: Tensor, lse: Tensor, random: list[Tensor],
                    causal: bool, scale: float) -> tuple[Tensor, ...]:
    """Gradients of q, k, v."""
    if q.is_cuda:
        wanted = [True, True, True, False]
        return aten._scaled_dot_product_efficient_attention_backward(
            d_out, q, k, v, bias, out, lse, *random, 0.0, wanted, causal, scale=scale)[:3]
    return aten._scaled_dot_product_flash_attention_for_cpu_backward(d_out, q, k, v, out, lse, 0.0, causal, attn_mask=bias, scale=scale)
