"""Attentive pooling without maps for queries and keys: Psomas et al., "Attention, Please! Revisiting Attentive Probing Through the Lens of
Efficiency", ICLR 2026 (efficient probing).

A few learned queries look at the features as they are, and each reads a slice of its own of the values, so that together they read the width once.
"""
import torch
from torch import Tensor

from mm.attention.rows import softmax


def sliced_pooling(x: Tensor, queries: Tensor, values: Tensor, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Pooled values [B, Dv] and weights [B, M, N]. Query m weighs the tokens by softmax(q_m x^T / sqrt(C)) and pools slice m of the values.

    x: [B, N, C]. queries: [M, C]. values: [B, N, Dv], M divides Dv. real: bool [B, N], False where a token is padding; a sample without any is 0.
    Written as products, for a fused kernel wants values as wide as keys, and M copies of the keys. Memory is M×N.
    ValueError where the widths do not fit.
    """
    if x.shape[-1] != queries.shape[-1] or values.shape[-1] % len(queries):
        raise ValueError(f"pooling: queries are as wide as the features, and share the values evenly; got features {tuple(x.shape)}, "
                         f"queries {tuple(queries.shape)}, values {tuple(values.shape)}")
    scores = torch.einsum("mc,bnc->bmn", queries * x.shape[-1] ** -0.5, x)
    seen = None if real is None else real[:, None]
    weights = softmax(scores if seen is None else scores.masked_fill(~seen, -torch.inf), seen)
    return torch.einsum("bmn,bnmd->bmd", weights, values.unflatten(-1, (len(queries), -1))).flatten(1), weights
