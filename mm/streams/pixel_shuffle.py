"""Space to depth: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN", CVPR 2016, turned round.

In vision-language models: Laurençon et al., "Building and better understanding vision-language models" (Idefics3), 2024; Marafioti et al., "SmolVLM",
2025; Chen et al., "How Far Are We to GPT-4V?" (InternVL 1.5), 2024.
"""
from torch import Tensor, nn

from mm.streams.base import Grid
from mm.streams.blocks import BlockProjector


class PixelShuffle(BlockProjector):
    """The `factor` x `factor` features of a block become one token, by a linear map without bias (Idefics3; SmolVLM with factors 2 to 4).

    Channels of a block: offset in the row of features first, then in the column, then the channel. InternVL's second layout is the same, its first
    was transposed.
    """

    def __init__(self, in_width: int, out_width: int, factor: int = 2) -> None:
        super().__init__(in_width, out_width, factor)
        self.map = nn.Linear(in_width * factor**2, out_width, bias=False)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        return self.map(self.blocks(x, grid).flatten(2))


class PixelShuffleMLP(BlockProjector):
    """The same features through norm, linear map, GELU and linear map (InternVL, whose `mlp1` fits `layers`)."""

    def __init__(self, in_width: int, out_width: int, factor: int = 2) -> None:
        super().__init__(in_width, out_width, factor)
        width = in_width * factor**2
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out_width), nn.GELU(), nn.Linear(out_width, out_width))

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        return self.layers(self.blocks(x, grid).flatten(2))
