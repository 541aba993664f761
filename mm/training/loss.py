"""Cross-entropy that is exact in tokens: sums travel, and the division by the number of labels happens once an optimiser step."""
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


class TokenLoss(NamedTuple):
    """Sums over labelled tokens, float32 [], 0 if there is none: total = Σ weight · nats; weight; correct = Σ weight of tokens predicted right."""

    total: Tensor
    weight: Tensor
    correct: Tensor


def token_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> TokenLoss:
    """logits [R, V] at the rows that predict a labelled token, targets [R], weights [R]. The sum over zero rows is 0 with zero gradient, never NaN.

    The mean over micro-batches of means is not the mean over tokens: micro-batches with few labels would count too much. So return the sum, add the
    weights up over accumulation and ranks, and divide the gradient once, before clipping.
    """
    weights = weights.float()
    losses = cross_entropy(logits.float(), targets, reduction="none")
    with torch.no_grad():
        correct = (weights * (logits.argmax(-1) == targets)).sum()
    return TokenLoss((weights * losses).sum(), weights.sum(), correct)
