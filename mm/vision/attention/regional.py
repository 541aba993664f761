"""Attention of each window over a few windows chosen for it: Zhu et al., "BiFormer: Vision Transformer with Bi-Level Routing Attention", CVPR
2023."""
import torch
from torch import Tensor

from mm.attention import attend


def regional_attention(q: Tensor, k: Tensor, v: Tensor, route: Tensor, scale: float | None = None, real: Tensor | None = None,
                       weight: Tensor | None = None) -> Tensor:
    """The tokens of window r see the keys of windows `route[..., r, :]` and no others: a block-sparse mask, as a dense attention of what is gathered.

    q: [B, H, R, w, D], w tokens in each of R windows. k, v: [B, H, R, m, D], m keys a window. route: int64 [B, H or 1, R, K], distinct windows.
    real: bool [R, m], False where a key is padding. weight: [B, H or 1, R, K], a factor on the keys and values of each window that is read.
    → [B, H, R, w, D]. Memory is K times that of the keys.
    """
    batch, heads = q.shape[:2]
    of_batch = torch.arange(batch, device=q.device)[:, None, None, None]
    of_head = torch.arange(heads, device=q.device)[:, None, None]
    k, v = k[of_batch, of_head, route], v[of_batch, of_head, route]  # [B, H, R, K, m, D]; indexing, as the gradient of `gather` is R times as large
    if weight is not None:
        k, v = k * weight[..., None, None], v * weight[..., None, None]
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k.flatten(3, 4), v.flatten(3, 4)))  # windows are rows of a batch
    mask = None if real is None else real[route].flatten(3).transpose(1, 2).flatten(0, 1)[:, :, None]
    return attend(q, k, v, mask, scale=scale).out.unflatten(0, (batch, -1)).transpose(1, 2)
