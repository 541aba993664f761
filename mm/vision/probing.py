"""Efficient probing: Psomas et al., "Attention, Please! Revisiting Attentive Probing Through the Lens of Efficiency", ICLR 2026."""
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mm.attention import sliced_pooling


class Pooled(NamedTuple):
    """out: [B, width / reduction]. attention: [B, queries, N], rows sum to one."""

    out: Tensor
    attention: Tensor


class EfficientProbing(nn.Module):
    """One vector for a set of features: `queries` learned queries, no map for queries and keys, one map for values.

    Args:
        width: of the features. queries: M, must divide width / reduction. reduction: width over that of the result (the original's d_out).
        bias: of the map of values.

    The original pools queries that are drawn from N(0, 0.02²), and classifies by BatchNorm1d(affine=False, eps=1e-6) and a linear map.
    ValueError where widths do not divide.
    """

    def __init__(self, width: int, queries: int = 32, reduction: int = 1, bias: bool = False) -> None:
        super().__init__()
        if queries < 1 or reduction < 1 or width % (queries * reduction):
            raise ValueError(f"EfficientProbing: queries times reduction divides width; got {width=}, {queries=}, {reduction=}")
        self.width, self.queries, self.reduction, self.bias = width, queries, reduction, bias
        self.query = nn.Parameter(0.02 * torch.randn(queries, width))
        self.value = nn.Linear(width, width // reduction, bias=bias)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Pooled:
        """x: [B, N, width]. real: bool [B, N], False where a feature is padding."""
        return Pooled(*sliced_pooling(x, self.query, self.value(x), real))
