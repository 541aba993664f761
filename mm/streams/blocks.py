"""Projectors that cut the grid of features into blocks and make one token of each."""
from abc import ABC

from torch import Tensor

from mm.streams.base import FrameProjector, Grid


class BlockProjector(FrameProjector, ABC):
    """One token for each block of `factor` x `factor` features. ValueError for a grid that `factor` does not divide: 27 x 27 is none for 2, so choose
    the encoder's image size and the factor together.
    """

    def __init__(self, in_width: int, out_width: int, factor: int) -> None:
        super().__init__(in_width, out_width)
        if factor < 1:
            raise ValueError(f"{type(self).__name__}: factor counts features a side, so it is at least 1; got {factor}")
        self.factor = factor

    def out_grid(self, grid: Grid) -> Grid:
        if grid[0] % self.factor or grid[1] % self.factor:
            raise ValueError(f"{type(self).__name__}: a factor of {self.factor} does not divide a grid of {grid[0]}x{grid[1]} features; "
                             "use another factor, or an encoder with another image_size")
        return grid[0] // self.factor, grid[1] // self.factor

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        rows, cols = self.out_grid(grid)
        return frames * rows * cols

    def blocks(self, x: Tensor, grid: Grid) -> Tensor:
        """[F, rows * cols, C] → [F, blocks, factor², C]; blocks and the features of each row by row."""
        rows, cols = self.out_grid(grid)
        cells = x.view(len(x), rows, self.factor, cols, self.factor, x.shape[-1])
        return cells.transpose(2, 3).reshape(len(x), rows * cols, self.factor**2, x.shape[-1])
