"""A small MLP per token: Liu et al., "Improved Baselines with Visual Instruction Tuning" (LLaVA-1.5), CVPR 2024."""
from itertools import pairwise

from torch import Tensor, nn

from mm.streams.base import Grid, TokenwiseProjector


class MLP(TokenwiseProjector):
    """`depth` linear maps with GELU between them.

    Args:
        depth: number of linear maps; 2 is the mlp2x_gelu of LLaVA-1.5, whose weights fit (layers 0, 2, ...).
        hidden: width between the maps, by default out_width.
    """

    def __init__(self, in_width: int, out_width: int, depth: int = 2, hidden: int | None = None) -> None:
        super().__init__(in_width, out_width)
        if depth < 1:
            raise ValueError(f"MLP: depth counts linear maps, so it is at least 1; got {depth}")
        self.depth = depth
        self.hidden = hidden
        widths = [in_width, *[hidden or out_width] * (depth - 1), out_width]
        layers: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
        for before, after in pairwise(widths[1:]):
            layers += [nn.GELU(), nn.Linear(before, after)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        return self.layers(x)
