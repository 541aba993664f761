"""Recorded attention weights put through the engine."""
import torch
from torch import Tensor

from mm.attention import Active, reweigh
from mm.tokens import TokenMap


def through_engine(weights: Tensor, active: list[Active], tokens: TokenMap, start: int = 0) -> Tensor:
    """What the engine makes of attention weights [B, H, Q, N]: scores log(weights) from one-hot keys, and one-hot values that show the weights."""
    seen, length = weights > 0, weights.shape[-1]
    keys = torch.eye(length, dtype=torch.float64).expand(*weights.shape[:2], -1, -1)
    return reweigh(torch.where(seen, weights, 1.0).log(), keys, keys, active, seen, False, 1.0, tokens, start)
