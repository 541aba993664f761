"""Global-local cross-attention: Zhu et al., "Dual Cross-Attention Learning for Fine-Grained Visual Categorization and Object Re-Identification",
CVPR 2022.

The class token and the patches that it draws most on (by attention rollout) read all tokens once more, in a block of their own.
"""
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mm.vision.attention.cross import CrossAttention


class Local(NamedTuple):
    """tokens: [B, 1 + R, width], the class token and the patches chosen. chosen: int64 [B, R], their places among all tokens, best first."""

    tokens: Tensor
    chosen: Tensor


class GlobalLocal(nn.Module):
    """A pre-norm transformer block whose queries are the class token, which stands first, and the `share` of patches with the highest scores.

    Args:
        share: R over the number of patches, rounded up, at least one (the paper: 0.1 for fine-grained classes, 0.3 for re-identification; rounding is
            our choice).

    Weights are its own. The choice has no gradient; the tokens chosen do. Padding scores −inf, so it is chosen after everything else. Queries do not
    see each other, so behind this block the class token is the same whatever was chosen.
    """

    def __init__(self, width: int, heads: int, share: float = 0.1, mlp_ratio: int = 4) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError(f"GlobalLocal: share is a part of the patches, in (0, 1]; got {share}")
        self.width, self.heads, self.share, self.mlp_ratio = width, heads, share, mlp_ratio
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross = CrossAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width))

    def forward(self, x: Tensor, scores: Tensor, real: Tensor | None = None) -> Local:
        """x: [B, 1 + N, width], class token first. scores: [B, 1 + N], of which the first is ignored. real: bool [B, 1 + N], False for padding."""
        chosen = top_patches(scores, self.share, real)
        places = torch.cat([torch.zeros_like(chosen[:, :1]), chosen], 1)
        all_tokens = self.norm1(x)
        few = taken(x, places) + self.cross(taken(all_tokens, places), all_tokens, real)
        return Local(few + self.mlp(self.norm2(few)), chosen)


def top_patches(scores: Tensor, share: float, real: Tensor | None = None) -> Tensor:
    """Places [B, R] of the patches with the highest scores [B, 1 + N], best first; place 0, the class token, is never one of them."""
    of_patches = scores[:, 1:] if real is None else scores[:, 1:].masked_fill(~real[:, 1:], -torch.inf)
    return of_patches.topk(math.ceil(share * of_patches.shape[1] - 1e-9), 1).indices + 1  # 0.1 * 30 is a little more than 3


def taken(x: Tensor, places: Tensor) -> Tensor:
    """x [B, N, C] at places [B, R] → [B, R, C]."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))
