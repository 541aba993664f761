"""Pooling in the picture's plane: Li et al., "LLaVA-OneVision: Easy Visual Task Transfer", TMLR 2025; Zhang et al., "LLaVA-Video", 2024."""
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate, max_pool2d

from mm.streams.base import FrameProjector, Grid
from mm.streams.mlp import MLP
from mm.streams.raster_with_ends import RasterWithEnds


class Pool2d(FrameProjector):
    """An MLP per feature (LLaVA's mlp2x_gelu), then fewer tokens by `stride` on each side.

    Args:
        stride: 1 pools nothing.
        kind: "average" and "max" of stride x stride features, which leave out what a stride does not fill; "bilinear" as LLaVA resizes, without
            antialiasing; "area", the mean of all the features that a token covers (our addition). The kind changes the number of tokens: 27 x 27
            features at stride 2 are 13 x 13 for the first two and 14 x 14 for the others. "bilinear" reads four features a token at most, so from
            stride 3 on it sees only some of the picture, at an odd stride that divides the grid the centre ones alone.
        newline: a learned vector behind each "row" (LLaVA-Video's grid), each "frame", or the whole "medium". It has no place in the picture, so
            levers that need a full raster, such as Concentric, refuse it with the image's name. None for none (LLaVA-OneVision's frames).
        depth: of the MLP.

    The vector is drawn as LLaVA's image_newline, from a normal of deviation 1 / sqrt(out_width) (from memory).
    """

    def __init__(self, in_width: int, out_width: int, stride: int = 2, kind: Literal["average", "max", "bilinear", "area"] = "bilinear",
                 newline: Literal["row", "frame", "medium"] | None = None, depth: int = 2) -> None:
        super().__init__(in_width, out_width)
        if stride < 1:
            raise ValueError(f"Pool2d: stride counts features a side, so it is at least 1; got {stride}")
        if kind not in (kinds := ("average", "max", "bilinear", "area")):
            raise ValueError(f"Pool2d: kind is one of {', '.join(kinds)}; got {kind!r}")
        if newline not in (newlines := ("row", "frame", "medium", None)):
            raise ValueError(f"Pool2d: newline is one of {', '.join(map(str, newlines))}; got {newline!r}")
        self.stride, self.kind, self.newline, self.depth = stride, kind, newline, depth
        self.mlp = MLP(in_width, out_width, depth)
        self.end = nn.Parameter(torch.randn(out_width) * out_width**-0.5) if newline else None

    def out_grid(self, grid: Grid) -> Grid:
        if self.kind in ("bilinear", "area"):
            return -(-grid[0] // self.stride), -(-grid[1] // self.stride)
        if min(grid) < self.stride:
            raise ValueError(f"Pool2d: a stride of {self.stride} leaves nothing of a grid of {grid[0]}x{grid[1]} features; use a smaller one, "
                             "or kind='bilinear' or 'area', which round up")
        return grid[0] // self.stride, grid[1] // self.stride

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        rows, cols = self.out_grid(grid)
        return frames * (rows * (cols + (self.newline == "row")) + (self.newline == "frame")) + (self.newline == "medium")

    def places(self, grid: Grid) -> RasterWithEnds:
        return RasterWithEnds(self.out_grid(grid), int(self.newline == "row"), int(self.newline == "frame"), int(self.newline == "medium"))

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """The tokens of the frames, with the newlines of rows and frames; that of a medium comes in `project`."""
        tokens = self.pool(self.mlp(x, grid).transpose(1, 2).unflatten(2, grid), self.out_grid(grid)).permute(0, 2, 3, 1)  # [F, rows, cols, width]
        if self.newline == "row":
            tokens = self.ended(tokens)
        tokens = tokens.flatten(1, 2)
        return self.ended(tokens) if self.newline == "frame" else tokens

    def project(self, x: Tensor, grid: Grid, frames: Sequence[int]) -> Tensor:
        tokens = self(x, grid)
        if self.newline != "medium":
            return tokens.flatten(0, 1)
        return torch.cat([self.ended(medium.flatten(0, 1)) for medium in tokens.split(list(frames))])

    def pool(self, x: Tensor, out: Grid) -> Tensor:
        """[F, width, rows, cols] → [F, width, *out]."""
        if self.kind == "average":
            return avg_pool2d(x, self.stride)
        if self.kind == "max":
            return max_pool2d(x, self.stride)
        return interpolate(x, out, mode="bilinear") if self.kind == "bilinear" else adaptive_avg_pool2d(x, out)

    def ended(self, tokens: Tensor) -> Tensor:
        """[..., N, width] → [..., N + 1, width]."""
        assert self.end is not None
        return torch.cat([tokens, self.end.to(tokens.dtype).expand(*tokens.shape[:-2], 1, -1)], -2)
