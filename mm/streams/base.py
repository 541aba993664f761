"""The contract of every projector: features of media in, language-model tokens out, their number and places known beforehand."""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor, nn

Grid = tuple[int, int]


class Places(Protocol):
    """Where the tokens of a medium of so many frames lie: int64 [3, P], their frame, row and column, -1 where meaningless.

    The data code holds it, so it is small and can be pickled.
    """

    def __call__(self, frames: int) -> np.ndarray: ...


class FrameByFrame:
    """Each frame's `tokens`, one frame after another; in raster order on `grid` if they have a place in the picture."""

    def __init__(self, tokens: int, grid: Grid | None) -> None:
        self.tokens, self.grid = tokens, grid

    def __call__(self, frames: int) -> np.ndarray:
        one = np.arange(self.tokens)
        place = np.stack([one // self.grid[1], one % self.grid[1]]) if self.grid else np.full((2, self.tokens), -1)
        return np.concatenate([np.repeat(np.arange(frames), self.tokens)[None], np.tile(place, frames)])


class Placeless:
    """Tokens of features that have no place in the picture any more: their frame is all that is known."""

    def __init__(self, placed: Places) -> None:
        self.placed = placed

    def __call__(self, frames: int) -> np.ndarray:
        places = self.placed(frames).copy()
        places[1:] = -1
        return places


class Projector(nn.Module, ABC):
    """Maps features of F frames, [F, rows * cols, in_width], to language-model tokens of width out_width.

    `num_tokens`, `out_grid` and `places` are asked before any picture is encoded, because placeholders are expanded by the data code.
    levels: further layers of the encoder that it wants, counted from the last as -1; their features come behind the encoder's own along the width, so
    that x has in_width * (1 + len(levels)) channels.
    """

    levels: tuple[int, ...] = ()

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.in_width = in_width
        self.out_width = out_width

    @abstractmethod
    def out_grid(self, grid: Grid) -> Grid | None:
        """Rows and columns of the tokens of one frame, None where tokens have no place in the picture. ValueError for a grid that does not fit."""

    @abstractmethod
    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        """Tokens of a medium of `frames` frames, whose features lie on `grid`. ValueError for what does not fit."""

    def places(self, grid: Grid) -> Places:
        """Where those tokens lie."""
        return FrameByFrame(self.num_tokens(grid), self.out_grid(grid))

    @abstractmethod
    def project(self, x: Tensor, grid: Grid, frames: Sequence[int]) -> Tensor:
        """Features [F, rows * cols, C] of media of `frames` frames each, F in all, → their tokens one medium after another, [P, out_width]."""


class FrameProjector(Projector, ABC):
    """A projector that treats every frame alone, as a picture."""

    @abstractmethod
    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """[F, rows * cols, C] → [F, P, out_width]."""

    def project(self, x: Tensor, grid: Grid, frames: Sequence[int]) -> Tensor:
        return self(x, grid).flatten(0, 1)


class TokenwiseProjector(FrameProjector, ABC):
    """A projector that treats every feature alone, so that tokens keep the grid of the features."""

    def out_grid(self, grid: Grid) -> Grid:
        return grid

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        return frames * grid[0] * grid[1]


class ClipProjector(Projector, ABC):
    """A projector that reads the frames of a medium together, an image as one frame, into a number of tokens that does not depend on them."""

    @abstractmethod
    def forward(self, x: Tensor, grid: Grid, frames: Sequence[int]) -> Tensor:
        """[F, rows * cols, C] of M media of `frames` frames each → [M, P, out_width]."""

    def project(self, x: Tensor, grid: Grid, frames: Sequence[int]) -> Tensor:
        return self(x, grid, frames).flatten(0, 1)
