"""A small encoder that learns on a CPU: a convolutional stem and ViT blocks.

The stem is that of Xiao et al., "Early Convolutions Help Transformers See Better", NeurIPS 2021.
"""
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mm.attention import attend
from mm.vision.base import Size, VisionEncoder, square
from mm.vision.resize import Resize


class ConvViT(VisionEncoder):
    """Three normalised 3x3 convolutions of stride 2 and a 1x1 map, learned positions, `depth` pre-norm transformer blocks.

    A 64 x 64 picture gives 8 x 8 features. Trains from scratch where a plain patch embedding would need far more data. Without the norms the biases
    of the stem drown the picture, and nothing is learned from it for thousands of steps.
    """

    def __init__(self, image_size: int | Size = 64, width: int = 128, depth: int = 2, heads: int = 4, mlp_ratio: int = 4,
                 resize: Resize | None = None) -> None:
        super().__init__(resize)
        size = square(image_size)
        if size[0] % 8 or size[1] % 8 or width % 4 or width % heads:
            raise ValueError(f"ConvViT: image_size is a multiple of 8, width of 4 and of heads; got {image_size=}, {width=}, {heads=}")
        self.depth, self.heads, self.mlp_ratio = depth, heads, mlp_ratio
        grid = (size[0] // 8, size[1] // 8)
        self.geometry(width, size, grid, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        widths = (3, width // 4, width // 2, width)
        halvings = [nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(1, b), nn.GELU()) for a, b in pairwise(widths)]
        self.stem = nn.Sequential(*halvings, nn.Conv2d(width, width, 1))
        self.positions = nn.Parameter(torch.randn(1, grid[0] * grid[1], width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def features(self, x: Tensor) -> Tensor:
        return self.features_at(x, ())[0]

    def features_at(self, x: Tensor, levels: Sequence[int]) -> list[Tensor]:
        self.check(levels)
        x = self.stem(x).flatten(2).transpose(1, 2) + self.positions
        layers = []
        for block in self.blocks:
            x = block(x)
            layers.append(x)
        last = self.norm(x)
        return [last, *(last if level == -1 else layers[level] for level in levels)]

    def refuses(self, level: int) -> str | None:
        return None if -self.depth <= level < 0 else f"its layers are -{self.depth} to -1"


class Block(nn.Module):
    """x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.after(x, attend(*self.heads_of(x)).out)

    def heads_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, heads, N, D] of `x` [B, N, width]."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def after(self, x: Tensor, attended: Tensor) -> Tensor:
        """The block's output from its input and what attention gave, [B, heads, N, D]."""
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))
