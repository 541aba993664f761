"""Convolutions around a pooling: Cha et al., "Honeybee: Locality-enhanced Projector for Multimodal LLM", CVPR 2024."""
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from mm.streams.base import FrameProjector, Grid
from mm.streams.raster_with_ends import RasterWithEnds
from mm.streams.reg_stage import RegStage


class CAbstractor(FrameProjector):
    """Features on their grid → stage of convolutions → average pooling to a square → another stage → MLP per token.

    Args:
        tokens: of a frame; a square. The paper's are 144, 256 and 576.
        hidden: width of the convolutions; in_width where depth is 0.
        depth: blocks of each stage; 0 is pooling and the MLP alone.
        grid: rows and columns of the features, for learned positions that are added to them, as released; None for no positions.
        norm: whether features are normalised first (`prenorm` of the release).
        ends: learned tokens behind those of each frame, which have no place in the picture.
        mlp_depth: linear maps of the MLP, with SiLU between them.

    ValueError for features on another grid than positions were learned for; without positions any grid is pooled. The release adds positions to its
    input in place; here the input is left alone. Positions and end tokens are drawn from 0.02 N(0, 1)
    (which the release cuts off at its tails).
    """

    def __init__(self, in_width: int, out_width: int, tokens: int = 144, hidden: int = 1024, depth: int = 3, grid: Grid | None = None,
                 norm: bool = False, ends: int = 0, mlp_depth: int = 2) -> None:
        super().__init__(in_width, out_width)
        if tokens < 1 or isqrt(tokens)**2 != tokens:
            raise ValueError(f"CAbstractor: tokens are pooled to a square, so their number is one, such as 144 or 256; got {tokens}")
        if mlp_depth < 1 or depth < 0 or ends < 0:
            raise ValueError(f"CAbstractor: mlp_depth is at least 1, depth and ends at least 0; got {mlp_depth=}, {depth=}, {ends=}")
        self.tokens, self.hidden, self.depth, self.norm, self.ends, self.mlp_depth = tokens, hidden, depth, norm, ends, mlp_depth
        self.grid = (grid[0], grid[1]) if grid else None
        width = hidden if depth else in_width
        self.positions = nn.Parameter(torch.randn(self.grid[0] * self.grid[1], in_width) * 0.02) if self.grid else None
        self.prenorm = nn.LayerNorm(in_width) if norm else nn.Identity()
        self.before, self.after = RegStage(in_width, width, depth), RegStage(width, width, depth)
        maps: list[nn.Module] = [nn.Linear(width, out_width)]
        for _ in range(mlp_depth - 1):
            maps += [nn.SiLU(), nn.Linear(out_width, out_width)]
        self.readout = nn.Sequential(*maps)
        self.end = nn.Parameter(torch.randn(ends, out_width) * 0.02) if ends else None

    @property
    def side(self) -> int:
        return isqrt(self.tokens)

    def out_grid(self, grid: Grid) -> Grid:
        if self.grid and tuple(grid) != self.grid:
            raise ValueError(f"CAbstractor: its positions are those of {self.grid[0]}x{self.grid[1]} features, and the encoder gives "
                             f"{grid[0]}x{grid[1]}; set grid to what the encoder gives, or to null for no positions")
        return self.side, self.side

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        self.out_grid(grid)
        return frames * (self.tokens + self.ends)

    def places(self, grid: Grid) -> RasterWithEnds:
        return RasterWithEnds(self.out_grid(grid), frame=self.ends)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        out = self.out_grid(grid)
        x = self.prenorm(x)
        if self.positions is not None:
            x = x + self.positions
        x = self.before(x.transpose(1, 2).unflatten(2, grid))
        x = self.after(adaptive_avg_pool2d(x, out))
        tokens = self.readout(x.flatten(2).transpose(1, 2))
        return tokens if self.end is None else torch.cat([tokens, self.end.to(tokens.dtype).expand(len(x), -1, -1)], 1)
