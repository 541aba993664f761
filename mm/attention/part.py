"""Attention over a group of keys as a pair (O, LSE), and the exact merge of pairs: Dao et al., "FlashAttention", NeurIPS 2022 (the online softmax);
Juravsky et al., "Hydragen: High-Throughput LLM Inference with Shared Prefixes", 2024 (parts that share a prefix).

Attention over the union of disjoint groups g is `LSE = logsumexp_g LSE_g`, `mass_g = exp(LSE_g - LSE)`, `O = sum_g mass_g O_g`. Whoever moves
attention mass between groups needs these masses, never the Q x N matrix.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class AttentionPart(NamedTuple):
    """Attention of each query over one group of keys.

    out: [B, H, Q, Dv]; 0 where a row sees nothing. lse: [B, H, Q], natural logarithm of the sum of exponentials, float32 (float64 for float64
    inputs), -inf where a row sees nothing; None where nobody asked for it.
    """

    out: Tensor
    lse: Tensor | None


def log_sizes(parts: Sequence[AttentionPart]) -> Tensor:
    """The parts' LSE, [G, B, H, Q]. ValueError without parts, or if a part was computed without LSE."""
    if not parts:
        raise ValueError("no attention parts to merge; give at least one")
    missing = [g for g, part in enumerate(parts) if part.lse is None]
    if missing:
        raise ValueError(f"attention parts {missing} carry no LSE, and masses cannot be known without it; compute them with need_lse=True")
    return torch.stack([part.lse for part in parts if part.lse is not None])


def softmax_over_groups(log_size: Tensor) -> tuple[Tensor, Tensor]:
    """Masses [G, B, H, Q] and total LSE [B, H, Q] of `log_size` [G, B, H, Q]. Rows that see nothing get 0 and -inf, and no NaN in gradients."""
    peak = log_size.detach().amax(0).clamp(min=torch.finfo(log_size.dtype).min)  # finite, so that -inf - peak is -inf and not NaN
    size = (log_size - peak).exp()
    total = size.sum(0)
    empty = total == 0
    total = total.masked_fill(empty, 1.0)
    return size / total, (total.log() + peak).masked_fill(empty, -torch.inf)


def masses(parts: Sequence[AttentionPart], log_weight: Tensor | None = None) -> Tensor:
    """Share of each part in the attention of each row, [G, B, H, Q]; sums to 1, or to 0 where a row sees nothing."""
    log_size = log_sizes(parts)
    return softmax_over_groups(log_size if log_weight is None else log_size + log_weight)[0]


def merge(parts: Sequence[AttentionPart], log_weight: Tensor | None = None) -> AttentionPart:
    """Attention over the union of disjoint groups of keys; associative and commutative.

    log_weight: added to the parts' LSE, broadcastable to [G, B, H, Q]; 0 is the exact softmax over the union. Differentiable in outputs, LSE and
    weights. Merged in the precision of the LSE, returned in that of the first part.
    """
    log_size = log_sizes(parts)
    mass, lse = softmax_over_groups(log_size if log_weight is None else log_size + log_weight)
    out = sum(mass[g].unsqueeze(-1) * part.out for g, part in enumerate(parts))
    return AttentionPart(torch.as_tensor(out).to(parts[0].out.dtype), lse)
