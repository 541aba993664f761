"""A grid of tokens cut into windows of one size, and put together again."""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """grid: rows and columns of the tokens. size: rows and columns of a window; the last ones of a side may hang over and are padded.

    ValueError where a side is not positive.
    """

    grid: Grid
    size: Grid

    def __post_init__(self) -> None:
        if min(*self.grid, *self.size) < 1:
            raise ValueError(f"windows: grid and window have rows and columns; got grid {self.grid}, window {self.size}")

    @classmethod
    def of(cls, grid: Grid, a_side: int) -> "Windows":
        """At most `a_side` windows along each side, as small as that allows."""
        return cls(grid, (-(-grid[0] // a_side), -(-grid[1] // a_side)))

    @property
    def counts(self) -> Grid:
        """Windows along the rows and along the columns."""
        return -(-self.grid[0] // self.size[0]), -(-self.grid[1] // self.size[1])

    @property
    def count(self) -> int:
        return self.counts[0] * self.counts[1]

    @property
    def _overhang(self) -> Grid:
        return self.counts[0] * self.size[0] - self.grid[0], self.counts[1] * self.size[1] - self.grid[1]

    def cut(self, x: Tensor) -> Tensor:
        """[..., rows * cols, C] → [..., windows, tokens of a window, C], both row by row; zeros where a window hangs over."""
        x = x.unflatten(-2, self.grid)
        if any(self._overhang):
            x = F.pad(x, (0, 0, 0, self._overhang[1], 0, self._overhang[0]))
        x = x.unflatten(-2, (self.counts[1], self.size[1])).unflatten(-4, (self.counts[0], self.size[0]))
        return x.transpose(-4, -3).flatten(-5, -4).flatten(-3, -2)

    def join(self, x: Tensor) -> Tensor:
        """The inverse of `cut`: [..., windows, tokens of a window, C] → [..., rows * cols, C]."""
        x = x.unflatten(-2, self.size).unflatten(-4, self.counts).transpose(-4, -3)
        x = x.flatten(-3, -2).flatten(-4, -3)
        return x[..., :self.grid[0], :self.grid[1], :].flatten(-3, -2)

    def real(self, device: torch.device | None = None) -> Tensor | None:
        """bool [windows, tokens of a window], False where a window hangs over; None if none does."""
        if not any(self._overhang):
            return None
        return self.cut(torch.ones(self.grid[0] * self.grid[1], 1, device=device)).squeeze(-1) > 0
