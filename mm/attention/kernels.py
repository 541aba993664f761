"""The only place that chooses an attention kernel."""
from dataclasses import replace

import torch
from torch import Tensor

from mm.attention.backend import Backend, Query
from mm.attention.flex import Flex
from mm.attention.part import AttentionPart
from mm.attention.products import Products
from mm.attention.reference import Reference
from mm.attention.sdpa import SDPA
from mm.attention.tiled import Tiled
from mm.attention.varlen import Varlen
from mm.attention.visibility import Visibility

# The first that does not refuse; the reference never does.
ON_CPU: tuple[Backend, ...] = (Tiled(), Products(), SDPA(), Reference())
ON_CUDA: tuple[Backend, ...] = (Varlen(), Flex(), Tiled(), SDPA(), Reference())
SMALL = 768 * 768  # Q·K up to which a rule becomes a dense mask, shared by all layers


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | Visibility | None = None, causal: bool = False, scale: float | None = None,
           need_lse: bool = False, backend: Backend | None = None, dropout: float = 0.0, value_map: Tensor | None = None,
           log_bias: Tensor | None = None) -> AttentionPart:
    """Attention of queries over keys, on the fastest kernel that is exact for the call.

    Args:
        q: [B, H, Q, D]. k: [B, Hk, N, D], Hk divides H (grouped queries). v: [B, Hk, N, Dv]. Any strides; of mixed dtypes, the widest is used.
        mask: bool, broadcastable to [B, H, Q, N], True where a row sees a key; or a `Visibility` over B rows, which large calls never make dense.
        causal: the last query sees the last key (bottom-right aligned, so a prefill goes on behind a cache); ANDed with a mask
            tensor; a `Visibility` says it all itself.
        scale: of the dot products; 1 / sqrt(D) by default.
        need_lse: also return the LSE, differentiable like the output.
        backend: a kernel to insist on; ValueError with its reason if it refuses.
        dropout: share of the weights that is dropped, as in training a plain model.
        value_map: M [N, N], or [B, 1 or Hk, N, N], for the output `A (M v)`: the map `A M` without any map (Prompt-to-Prompt's edits); or factors [N]
            for a diagonal M. Rows of the map that it stands for need not sum to 1.
        log_bias: added to the scaled dot products, broadcastable to [B, H, Q, N]; log c multiplies a key's weight by c and renormalises the row.

    Returns:
        out [B, H, Q, Dv] in q's dtype and lse [B, H, Q] in float32 (float64 for float64), None unless asked for.
    """
    query = checked(q, k, v, mask, causal, scale, dropout)
    if value_map is not None:
        query = replace(query, v=mapped(query.v, value_map))
    if log_bias is not None:
        query = biased(query, log_bias)
    if backend is None:
        query = simplest(query)
        backend = next(candidate for candidate in (ON_CUDA if q.is_cuda else ON_CPU) if candidate.refuses(query, need_lse) is None)
    elif (reason := backend.refuses(query, need_lse)) is not None:
        raise ValueError(f"{type(backend).__name__} refuses this attention: {reason}; leave `backend` out to have one chosen")
    part = backend(query, need_lse)
    return part if part.out.dtype == q.dtype or torch.is_autocast_enabled(q.device.type) else AttentionPart(part.out.to(q.dtype), part.lse)


def simplest(query: Query) -> Query:
    """A rule as the cheapest thing that says the same: the kernel's causal flag, nothing, or, where the problem is small, a tensor."""
    rule = query.mask
    if not isinstance(rule, Visibility):
        return query
    if rule.is_plain:
        return replace(query, mask=None, causal=True)
    if rule.sees_all():
        return replace(query, mask=None)
    return replace(query, mask=rule.whole) if rule.shape[2] * rule.shape[3] <= SMALL else query


def mapped(v: Tensor, value_map: Tensor) -> Tensor:
    """The values that give the output of a map with mixed columns. ValueError unless the map is about all keys."""
    keys = v.shape[2]
    if value_map.shape == (keys,):
        return v * value_map.to(v)[:, None]
    if value_map.shape[-2:] != (keys, keys):
        raise ValueError(f"value_map mixes {keys} keys, so it is [{keys}], [{keys}, {keys}] or [B, Hk, {keys}, {keys}]; got {tuple(value_map.shape)}")
    return value_map.to(v) @ v


def biased(query: Query, log_bias: Tensor) -> Query:
    """The query with a bias; its mask becomes a tensor, which is what the kernels that know a bias take. ValueError if the bias is bool."""
    if not log_bias.is_floating_point():
        raise ValueError(f"log_bias is added to the scores and must be floating; got {log_bias.dtype}; say who sees whom by `mask`")
    bias = log_bias[(None,) * (4 - log_bias.dim())] if log_bias.dim() < 4 else log_bias
    return replace(query, mask=query.dense_mask(), causal=False, bias=bias)


def checked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | Visibility | None, causal: bool, scale: float | None, dropout: float) -> Query:
    """The call as a `Query`, in one dtype. ValueError naming what does not fit."""
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if not q.dim() == k.dim() == v.dim() == 4:
        raise ValueError(f"attention needs q [B, H, Q, D], k [B, Hk, N, D] and v [B, Hk, N, Dv]; got {shapes}")
    if k.shape[:3] != v.shape[:3] or q.shape[-1] != k.shape[-1] or q.shape[0] != k.shape[0]:
        raise ValueError(f"batch, key heads, key count and head width must agree; got {shapes}")
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"{k.shape[1]} key heads cannot be shared evenly by {q.shape[1]} query heads")
    if isinstance(mask, Visibility):
        if causal:
            raise ValueError("a Visibility says by itself who sees whom; leave `causal` out, or combine its rule with Causal() by `&`")
        if mask.shape != (q.shape[0], 1, q.shape[2], k.shape[2]):
            raise ValueError(f"the Visibility is about {mask.shape[0]} rows, {mask.shape[2]} queries and {mask.shape[3]} keys; got {shapes}")
    elif mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"a mask is bool, True where a row sees a key; got {mask.dtype}, which kernels would add to the scores instead")
    if not q.dtype == k.dtype == v.dtype and not torch.is_autocast_enabled(q.device.type):
        widest = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
        q, k, v = q.to(widest), k.to(widest), v.to(widest)
    if isinstance(mask, Tensor) and mask.dim() < 4:
        mask = mask[(None,) * (4 - mask.dim())]
    return Query(q, k, v, mask, causal, scale, dropout)
