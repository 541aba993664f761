"""What is kept of a picture: a stage between encoder and projector that hands on fewer features than it gets."""
from abc import ABC, abstractmethod

from torch import Tensor

Grid = tuple[int, int]


class Keep(ABC):
    """Maps features [F, rows * cols, width] of F frames to fewer of the same width. Frames do not know each other.

    Where the projector wants further layers of the encoder (`levels`), the features of all of them stand side by side along the width.
    """

    def num_tokens(self, grid: Grid) -> int:
        """Features of one frame that are handed on, known before any picture is read. ValueError where the grid has too few."""
        return grid[0] * grid[1]

    def out_grid(self, grid: Grid) -> Grid | None:
        """Grid of what is handed on, None where it has no place in the picture any more."""
        return None

    @abstractmethod
    def __call__(self, features: Tensor, grid: Grid) -> Tensor:
        """[F, rows * cols, C] → [F, num_tokens(grid), C]."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class All(Keep):
    """Everything."""

    def out_grid(self, grid: Grid) -> Grid:
        return grid

    def __call__(self, features: Tensor, grid: Grid) -> Tensor:
        return features
