"""One token a medium, the same for all: the `<image>` of Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022."""
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mm.streams.base import ClipProjector, Grid


class Marker(ClipProjector):
    """A learned token that says where a medium stands; what it shows, a stream inside the language model reads (`GatedCrossAttention`).

    in_width: of the features, which it does not look at.
    """

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__(in_width, out_width)
        self.token = nn.Parameter(torch.randn(out_width) * 0.02)

    def out_grid(self, grid: Grid) -> None:
        return None

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        return 1

    def places(self, grid: Grid) -> "Nowhere":
        return Nowhere()

    def forward(self, x: Tensor, grid: Grid, frames: Sequence[int]) -> Tensor:
        return self.token.expand(len(frames), 1, -1)


class Nowhere:
    """One token, in no frame and at no place."""

    def __call__(self, frames: int) -> np.ndarray:
        return np.full((3, 1), -1)
