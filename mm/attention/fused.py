"""The fused kernels' (O, LSE) with the exact gradient through LSE, by the ones-column form over the stock backward.

With dO and dLSE coming in, the gradient of the scores is `P * (dO V' - (delta - dLSE))`, where `delta = rowsum(dO * O)` is all that the backward
kernel takes from O. More columns with dO = 1, O = -dLSE (in sum) and Q = K = V = 0 turn its delta into delta - dLSE and add nothing else.
"""
from collections.abc import Sequence
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


def kernel_inputs(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """The inputs as the bare kernel wants them: in autocast's precision, of one width, dense along it (it does not look at the last stride)."""
    device = q.device.type
    if torch.is_autocast_enabled(device) and q.dtype != torch.float64:  # as autocast does for the stock call
        q, k, v = (x.to(torch.get_autocast_dtype(device)) for x in (q, k, v))
    return tuple(x if x.stride(-1) == 1 else x.contiguous() for x in equal_widths(q, k, v))


def equal_widths(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """Pads the narrower side with zero columns, which change neither scores nor the columns that are kept."""
    width = max(q.shape[-1], v.shape[-1])
    return tuple(x if x.shape[-1] == width else F.pad(x, (0, width - x.shape[-1])) for x in (q, k, v))


class FusedAttention(torch.autograd.Function):
    """(q, k, v [B, H, ., D] of one width and dtype, mask, causal, scale) → out [B, H, Q, D], lse [B, H, Q]. mask: bool, or added to the scores and
    then without a gradient.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
        out, raw, *random = forward_kernel(q, k, v, None if mask is None else additive(mask, q, k), causal, scale)
        ctx.save_for_backward(q, k, v, mask, out, raw, *random)
        ctx.causal, ctx.scale = causal, scale
        ctx.set_materialize_grads(False)
        return without_empty_rows(out, raw, None if mask is None else empty_rows(mask))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor | None, d_lse: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, mask, out, raw, *random = ctx.saved_tensors
        if d_out is None and d_lse is None:
            return (None,) * 6
        bias = None
        if mask is not None:
            bias = additive(mask, q, k)
            d_lse = None if d_lse is None else d_lse.masked_fill(empty_rows(mask), 0.0)
        grads = gradients(q, k, v, bias, out, raw, random, ctx.causal, ctx.scale, d_out, d_lse)
        return *grads, None, None, None


def without_empty_rows(out: Tensor, raw: Tensor, empty: Tensor | None) -> tuple[Tensor, Tensor]:
    """The pair (0, -inf) where a row sees nothing, about which the kernels disagree (the CPU's says 0); never the kernel's own LSE tensor."""
    lse = raw[..., :out.shape[2]]  # the CUDA kernel pads rows
    if empty is None:
        return out, lse.clone()
    return out.masked_fill(empty.unsqueeze(-1), 0.0), lse.masked_fill(empty, -torch.inf)


def gradients(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, out: Tensor, raw: Tensor, random: list[Tensor], causal: bool, scale: float,
              d_out: Tensor | None, d_lse: Tensor | None) -> tuple[Tensor, ...]:
    """Gradients of q, k, v from those of the output and the LSE, the latter 0 in rows that see nothing.

    out, raw and random: what `forward_kernel` returned for the same arguments.
    """
    d_out = torch.zeros_like(out) if d_out is None else d_out.to(out.dtype)
    width = q.shape[-1]
    if d_lse is not None:
        q, k, v = (F.pad(x, (0, ALIGNMENT)) for x in (q, k, v))
        out = torch.cat([out, columns(-d_lse, out.dtype)], -1)
        d_out = F.pad(d_out, (0, ALIGNMENT), value=1.0)
    grads = backward_kernel(d_out, q, k, v, bias, out, raw, random, causal, scale)
    return tuple(grad[..., :width] for grad in grads)


def columns(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Columns in `dtype` whose sum is `value`, [..., ALIGNMENT]: the leftover of each rounding goes to the next column, so bfloat16 loses nothing."""
    parts = []
    for _ in range(ALIGNMENT):
        parts.append(value.to(dtype))
        value = value - parts[-1].to(value.dtype)
    return torch.stack(parts, -1)


def empty_rows(mask: Tensor) -> Tensor:
    """Rows that see nothing, of a bool mask or of one that is added to the scores."""
    return ~mask.any(-1) if mask.dtype == torch.bool else (mask == -torch.inf).all(-1)


def additive(mask: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """0 where a row sees a key, -inf elsewhere, or the bias as it is, in q's dtype, viewable as [B, H, Q, N]."""
    if mask.dtype != torch.bool:
        return no_bias(mask.shape, q).copy_(mask).expand(*q.shape[:3], k.shape[2])
    return no_bias(mask.shape, q).masked_fill_(~mask, -torch.inf).expand(*q.shape[:3], k.shape[2])


def no_bias(shape: Sequence[int], like: Tensor) -> Tensor:
    """Zeros in the dtype and on the device of `like`, laid out as the kernels want a bias: on CUDA its rows start on aligned addresses."""
    room = -shape[-1] % ALIGNMENT if like.is_cuda else 0
    return torch.zeros(*shape[:-1], shape[-1] + room, dtype=like.dtype, device=like.device)[..., :shape[-1]]


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
