"""The contract of every projector: features of a frame in, language-model tokens out, their number known beforehand."""
from abc import ABC, abstractmethod

from torch import Tensor, nn

Grid = tuple[int, int]


class Projector(nn.Module, ABC):
    """Maps features [F, rows * cols, in_width] of F frames to tokens [F, P, out_width].

    `num_tokens` and `out_grid` are asked before any picture is encoded, because placeholders are expanded by the data code.
    """

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.in_width = in_width
        self.out_width = out_width

    @abstractmethod
    def out_grid(self, grid: Grid) -> Grid | None:
        """Rows and columns of the tokens of one frame, None where tokens have no place in the picture."""

    @abstractmethod
    def num_tokens(self, grid: Grid) -> int:
        """P, the tokens of one frame, for features on `grid`."""

    @abstractmethod
    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """[F, rows * cols, in_width] → [F, P, out_width]."""


class TokenwiseProjector(Projector, ABC):
    """A projector that treats every feature alone, so that tokens keep the grid of the features."""

    def out_grid(self, grid: Grid) -> Grid:
        return grid

    def num_tokens(self, grid: Grid) -> int:
        return grid[0] * grid[1]
