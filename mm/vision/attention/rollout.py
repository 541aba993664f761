"""Attention rollout: Abnar & Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020. One row of it, without an N×N matrix.

A layer passes on S = ½ mean_h A_h + ½ I, a stack S_L ... S_1. A row of that product is a row vector carried down the stack, v ← ½ v mean_h A_h + ½ v,
and v A a weighted sum over the rows of attention, which queries, keys and LSE give block by block. That form is ours, and exact.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mm.attention.rows import shared_product, windows


class Attended(NamedTuple):
    """What a layer's attention was computed from. q: [B, H, N, D]; k: [B, Hk, N, D]; lse: [B, H, N] as `attend(..., need_lse=True)` gave it."""

    q: Tensor
    k: Tensor
    lse: Tensor


@torch.no_grad()
def rollout_row(layers: Sequence[Attended], row: int = 0, scale: float | None = None, real: Tensor | None = None) -> Tensor:
    """How much token `row` of the last layer's output comes from each token that entered the first, [B, N]; sums to one.

    layers: first layer first. scale: of the dot products, 1 / sqrt(D) by default. real: bool [B, N], False where a token was masked as padding.
    In the precision of the LSE; memory O(window × N), and the last layer costs its one row. ValueError without layers.
    """
    if not layers:
        raise ValueError("rollout: there are no layers; give (q, k, lse) of each, the first layer first")
    lse = layers[-1].lse
    share = torch.zeros(lse.shape[0], lse.shape[2], dtype=lse.dtype, device=lse.device)
    share[:, row] = 1
    for layer in reversed(layers):
        share = (share + passed_down(layer, share, scale, real)) / 2
    return share


def passed_down(layer: Attended, share: Tensor, scale: float | None, real: Tensor | None) -> Tensor:
    """share [B, N] of the rows → share · mean_h A_h, [B, N] of the columns."""
    q, k, lse = layer
    k = k.to(lse.dtype).transpose(-1, -2)
    total = torch.zeros_like(share)
    for rows in windows((share != 0).any(0), q, k.shape[-1]):
        scores = shared_product(q[:, :, rows].to(lse.dtype) * (q.shape[-1] ** -0.5 if scale is None else scale), k)
        if real is not None:
            scores = scores.masked_fill(~real[:, None, None], -torch.inf)
        weights = (scores - lse[:, :, rows, None].clamp(min=torch.finfo(lse.dtype).min)).exp()
        total += torch.einsum("bq,bhqn->bn", share[:, rows], weights)
    return total / q.shape[1]
