"""FlexAttention under a rule: Dong et al., "Flex Attention: A Programming Model for Generating Optimized Attention Kernels", 2024. The map of blocks
comes from bounds of the token tables, so that neither building nor using it touches Q x N.
"""
import shutil
from functools import cache
from typing import Any

import torch
from torch import Tensor

from mm.attention.backend import Backend, Query
from mm.attention.part import AttentionPart
from mm.attention.visibility import Visibility

NARROWEST = 16  # head widths below this have no Triton kernel


class Flex(Backend):
    """Compiled for the device at the first call. On CUDA forward, backward and LSE; on a CPU what its compiled kernel offers: forward, without LSE.

    Not compiled it materialises Q x N, so there is no such mode: where it cannot be compiled it refuses.
    """

    def refuses(self, query: Query, need_lse: bool) -> str | None:
        device, width = query.q.device.type, min(query.q.shape[-1], query.v.shape[-1])
        if not isinstance(query.mask, Visibility):
            return "it reads a Visibility, and the mask is a tensor or absent"
        if query.dropout:
            return "flex attention has no dropout"
        if query.q.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            return f"its kernels know no {query.q.dtype}"
        if 0 in query.q.shape or 0 in query.k.shape:
            return "nothing to attend from or to"
        if device == "cuda":
            return f"head width {width} is below {NARROWEST}" if width < NARROWEST else self.cannot_compile("cuda")
        if device != "cpu":
            return f"no flex attention on {device}"
        if torch.is_grad_enabled() and any(x.requires_grad for x in (query.q, query.k, query.v)):
            return "flex attention has no backward on a CPU"
        return "compiled flex attention returns no LSE on a CPU" if need_lse else self.cannot_compile("cpu")

    def __call__(self, query: Query, need_lse: bool) -> AttentionPart:
        from torch.nn.attention.flex_attention import AuxRequest

        assert isinstance(query.mask, Visibility)
        q, k, v = in_one_precision(query)
        out, aux = self.kernel()(q, k, v, block_mask=query.mask.block_mask(), scale=query.scale, enable_gqa=query.groups > 1,
                                 return_aux=AuxRequest(lse=need_lse))
        return AttentionPart(out, aux.lse if need_lse else None)

    def cannot_compile(self, device: str) -> str | None:
        """Why nothing can be compiled for `device` here; None if it can."""
        from torch.utils._triton import has_triton

        if device == "cuda":
            return None if has_triton() else "Triton is not installed, and uncompiled flex attention materialises Q x N"
        return None if compiler() else "no C++ compiler is installed, and uncompiled flex attention materialises Q x N"

    def kernel(self) -> Any:
        return compiled()


@cache
def compiled() -> Any:
    from torch.nn.attention.flex_attention import flex_attention  # importing it takes seconds

    return torch.compile(flex_attention)


@cache
def compiler() -> str | None:
    """The C++ compiler that torch would call; None if there is none."""
    from torch._inductor import config

    names = config.cpp.cxx if isinstance(config.cpp.cxx, tuple | list) else (config.cpp.cxx,)
    return next((found for name in (*names, "g++", "clang++") if name and (found := shutil.which(name))), None)


def in_one_precision(query: Query) -> tuple[Tensor, ...]:
    """q, k, v as autocast would cast them for the stock call."""
    qkv, device = (query.q, query.k, query.v), query.q.device.type
    return tuple(x.to(torch.get_autocast_dtype(device)) for x in qkv) if torch.is_autocast_enabled(device) else qkv
