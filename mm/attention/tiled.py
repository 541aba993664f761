"""Attention under a rule by tiles of queries: the fused kernel over the keys that a tile may see, and a mask only where a tile needs one.

Q x N is never allocated, neither forward nor backward: as in Dao et al., "FlashAttention", NeurIPS 2022, the backward pass recomputes what it needs
from q, k, v, the output and the LSE, and here also the masks.
"""
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mm.attention.backend import Backend, Query, repeat_heads
from mm.attention.fused import fits_fused, forward_kernel, gradients, kernel_inputs, no_bias, without_empty_rows
from mm.attention.part import AttentionPart
from mm.attention.tiles import Tile, length, total
from mm.attention.visibility import Visibility


class Tiled(Backend):
    """Exact for any `Visibility`, differentiable in output and LSE, with O(Q + K) extra memory."""

    def refuses(self, query: Query, need_lse: bool) -> str | None:
        if not isinstance(query.mask, Visibility):
            return "it cuts tiles by a Visibility, and the mask is a tensor or absent"
        return fits_fused(query)

    def __call__(self, query: Query, need_lse: bool) -> AttentionPart:
        scale = query.q.shape[-1] ** -0.5 if query.scale is None else query.scale
        out, lse = TiledAttention.apply(*kernel_inputs(query.q, query.k, query.v), query.mask, scale)
        return AttentionPart(out[..., :query.v.shape[-1]], lse if need_lse else None)


class TiledAttention(torch.autograd.Function):
    """(q [B, H, Q, D], k, v [B, Hk, K, D] of one dtype, visibility, scale) → out [B, H, Q, D], lse [B, H, Q]."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, visibility: Visibility, scale: float) -> tuple[Tensor, Tensor]:
        groups = q.shape[1] // k.shape[1]
        out = torch.zeros_like(q)
        lse = torch.full(q.shape[:3], -torch.inf, dtype=torch.promote_types(q.dtype, torch.float32), device=q.device)
        kernel: list[Tensor] = []  # what each tile's backward asks for besides: its LSE as the kernel gave it, and on CUDA two more
        for tile in visibility.tiles:
            here = slice(tile.row, tile.row + 1), slice(None), tile.rows
            few, keys, values = q[here], repeat_heads(tile.gather(k), groups), repeat_heads(tile.gather(v), groups)
            bias, empty = bias_of(tile, q)
            found, *rest = forward_kernel(few, keys, values, over_heads(bias, few), False, scale)
            kernel += rest
            out[here], lse[here] = without_empty_rows(found, rest[0], empty)
        ctx.save_for_backward(q, k, v, out, lse, *kernel)
        ctx.visibility, ctx.scale = visibility, scale
        ctx.set_materialize_grads(False)
        return out, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor | None, d_lse: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse, *kernel = ctx.saved_tensors
        if d_out is None and d_lse is None:
            return (None,) * 5
        groups, tiles = q.shape[1] // k.shape[1], ctx.visibility.tiles
        d_lse = None if d_lse is None else d_lse.masked_fill(lse.isinf(), 0.0)
        d_q = torch.zeros_like(q)
        precise = torch.promote_types(k.dtype, torch.float32)  # many tiles add up in one key
        d_k, d_v = (torch.zeros(x.shape, dtype=precise, device=x.device) for x in (k, v))
        for tile, (raw, *random) in zip(tiles, batched(kernel, len(tiles)), strict=True):
            here = slice(tile.row, tile.row + 1), slice(None), tile.rows
            few, keys, values = q[here], repeat_heads(tile.gather(k), groups), repeat_heads(tile.gather(v), groups)
            d_few, d_keys, d_values = gradients(few, keys, values, over_heads(bias_of(tile, q)[0], few), out[here], raw, random, False, ctx.scale,
                                                None if d_out is None else d_out[here], None if d_lse is None else d_lse[here])
            d_q[here] = d_few
            tile.add(d_k, shared(d_keys, groups, precise))
            tile.add(d_v, shared(d_values, groups, precise))
        return d_q, d_k.to(k.dtype), d_v.to(v.dtype), None, None


def bias_of(tile: Tile, like: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """What the kernel adds, [q, k] in the dtype of `like`, and which queries see nothing, bool [q]; None where it is 0, or where none is so."""
    if not tile.partial:
        return None, None
    hidden, keys = tile.hidden(), total(tile.runs)
    bias = no_bias((length(tile.rows), keys), like)
    for part, piece in zip(tile.partial, hidden.split([length(part) for part in tile.partial], dim=1), strict=True):
        bias[:, part].masked_fill_(piece, -torch.inf)
    return bias, hidden.all(-1) if total(tile.partial) == keys else None


def over_heads(bias: Tensor | None, q: Tensor) -> Tensor | None:
    """A tile's bias [q, k] as the kernel takes it, [1, H, q, k]."""
    return None if bias is None else bias.expand(1, q.shape[1], *bias.shape)


def shared(grad: Tensor, groups: int, dtype: torch.dtype) -> Tensor:
    """Gradient of the shared key heads [1, Hk, k, D] from that of their copies [1, Hk * groups, k, D]."""
    return grad.unflatten(1, (-1, groups)).sum(2, dtype=dtype)


def batched(items: list[Tensor], parts: int) -> list[list[Tensor]]:
    """`items` in `parts` lists of equal length, in order."""
    size = len(items) // max(parts, 1)
    return [items[part * size:(part + 1) * size] for part in range(parts)]
