"""PyTorch's fused attention, and its LSE with an exact gradient.

Without LSE this is the stock call, with the choices transformers makes for it, so that a neutral lever is the plain model to the bit. With LSE it is
the fused kernel behind the stock call, wrapped because that kernel's LSE has no gradient, says 0 where a row sees nothing, and wants equal widths.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from mm.attention.backend import Backend, Query, repeat_heads
from mm.attention.fused import FusedAttention, fits_fused, kernel_inputs
from mm.attention.part import AttentionPart


class SDPA(Backend):
    """`torch.nn.functional.scaled_dot_product_attention`; with LSE, its flash kernel on CPU and its memory-efficient kernel on CUDA."""

    def refuses(self, query: Query, need_lse: bool) -> str | None:
        if need_lse and query.bias is not None and query.bias.requires_grad and torch.is_grad_enabled():
            return "the fused kernel with LSE gives its bias no gradient"
        return fits_fused(query) if need_lse else None

    def __call__(self, query: Query, need_lse: bool) -> AttentionPart:
        return with_lse(query) if need_lse else AttentionPart(plain(query), None)


def plain(query: Query) -> Tensor:
    """Output [B, H, Q, Dv] of the stock call; nothing is added to it."""
    q, k, v = query.q, query.k, query.v
    square = q.shape[2] == k.shape[2]
    fast_causal = query.causal and query.mask is None and square and q.shape[2] > 1  # the kernel's flag is top-left aligned
    mask = None if fast_causal else query.kernel_mask()
    shared = False
    if query.groups > 1:
        if mask is None and k.shape[-1] == v.shape[-1] <= 256:
            shared = True
        elif q.shape[2] == 1:  # decoding: the heads that share keys become the rows of one matrix product
            q = q.reshape(q.shape[0], k.shape[1], query.groups, q.shape[-1])
            if mask is not None and mask.shape[-3:-2] not in ((), (1,)):
                mask = mask.expand(-1, query.q.shape[1], 1, -1).reshape(mask.shape[0], k.shape[1], query.groups, -1)
        else:
            k, v = repeat_heads(k, query.groups), repeat_heads(v, query.groups)
    out = F.scaled_dot_product_attention(q, k, v, mask, query.dropout, fast_causal, scale=query.scale, enable_gqa=shared)
    return out.reshape(*query.q.shape[:-1], v.shape[-1])


def with_lse(query: Query) -> AttentionPart:
    """Output and LSE, differentiable in both."""
    square = query.q.shape[2] == query.k.shape[2]
    fast_causal = query.causal and query.mask is None and square
    mask = None if fast_causal else query.kernel_mask()
    scale = query.q.shape[-1] ** -0.5 if query.scale is None else query.scale
    qkv = kernel_inputs(query.q, repeat_heads(query.k, query.groups), repeat_heads(query.v, query.groups))
    out, lse = FusedAttention.apply(*qkv, mask, fast_causal, scale)
    return AttentionPart(out[..., :query.v.shape[-1]], lse)
