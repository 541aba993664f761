"""Means of patches that lie together: the pooling before the projector of Yan et al., "CrossLMM", 2025."""
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from mm.keep.base import Grid, Keep


class Pool(Keep):
    """The features of a frame as `size` x `size` means, each over the cell of the grid that it covers: every feature counts.

    The paper resizes 27 x 27 features to 3 x 3 bilinearly. Without antialiasing that reads nine of the 729; the mean over areas is our choice.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"Pool: size counts the means of a side, so it is at least 1; got {size}")
        self.size = size

    def num_tokens(self, grid: Grid) -> int:
        rows, cols = self.out_grid(grid)
        return rows * cols

    def out_grid(self, grid: Grid) -> Grid:
        if self.size > min(grid):
            raise ValueError(f"Pool: size {self.size} asks for more than the {grid[0]}x{grid[1]} grid has; take {min(grid)} or less")
        return self.size, self.size

    def __call__(self, features: Tensor, grid: Grid) -> Tensor:
        placed = features.transpose(1, 2).unflatten(-1, grid)
        return adaptive_avg_pool2d(placed, self.out_grid(grid)).flatten(2).transpose(1, 2)

    def __repr__(self) -> str:
        return f"Pool({self.size})"
