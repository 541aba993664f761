"""Packed causal rows on the variable-length kernel: Dao, "FlashAttention-2", 2023. Documents are told apart by where they begin, so no mask is needed
and nothing is computed across them.
"""
import torch
from torch import Tensor

from mm.attention.backend import Backend, Query, repeat_heads
from mm.attention.part import AttentionPart
from mm.attention.visibility import Visibility

WIDEST = 256  # head width of the flash kernel


class Varlen(Backend):
    """`torch.nn.attention.varlen.varlen_attn` on CUDA in float16 and bfloat16, with LSE where nobody asks for its gradient (the kernel has none)."""

    def refuses(self, query: Query, need_lse: bool) -> str | None:
        q, k, v = query.q, query.k, query.v
        if not isinstance(query.mask, Visibility):
            return "it reads a Visibility, and the mask is a tensor or absent"
        if q.device.type != "cuda":
            return f"the variable-length kernel does not run on {q.device.type}"
        if query.dropout:
            return "the variable-length kernel has no dropout"
        if q.dtype not in (torch.float16, torch.bfloat16) or torch.is_autocast_enabled("cuda"):
            return f"the variable-length kernel knows float16 and bfloat16, not {q.dtype} or autocast"
        if q.shape[-1] != v.shape[-1] or q.shape[-1] > WIDEST or q.shape[-1] % 8:
            return f"the variable-length kernel wants one head width, a multiple of 8 up to {WIDEST}; got {q.shape[-1]} and {v.shape[-1]}"
        if query.scale is not None and query.scale <= 0:
            return "the variable-length kernel wants a positive scale"
        if need_lse and torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
            return "the variable-length kernel's LSE has no gradient"
        return None if query.mask.varlen() is not None else "the rows are more than causal documents, one after another"

    def __call__(self, query: Query, need_lse: bool) -> AttentionPart:
        from torch.nn.attention.varlen import AuxRequest, varlen_attn

        assert isinstance(query.mask, Visibility)
        starts = query.mask.varlen()
        assert starts is not None
        batch, heads, length, width = query.q.shape
        window = -1 if query.mask.window is None else query.mask.window - 1  # how far back, the token itself not counted
        q, k, v = (packed(repeat_heads(x, heads // x.shape[1])) for x in (query.q, query.k, query.v))
        out, lse = varlen_attn(q, k, v, starts, starts, query.mask.longest, query.mask.longest, return_aux=AuxRequest(lse=True),
                               scale=query.scale, window_size=(window, 0))
        return AttentionPart(out.view(batch, length, heads, width).transpose(1, 2),
                             lse.view(heads, batch, length).transpose(0, 1) if need_lse else None)


def packed(x: Tensor) -> Tensor:
    """[B, H, N, D] → [B * N, H, D]."""
    return x.transpose(1, 2).flatten(0, 1)
