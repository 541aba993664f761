"""One linear map: Liu et al., "Visual Instruction Tuning" (LLaVA), NeurIPS 2023."""
from torch import Tensor, nn

from mm.streams.base import Grid, TokenwiseProjector


class Linear(TokenwiseProjector):
    """token = W feature + b."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__(in_width, out_width)
        self.map = nn.Linear(in_width, out_width)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        return self.map(x)
