"""A map passed on from pixel to pixel through self-attention: an option in the release of RealCustom++ (Mao et al., 2024) that its pipelines leave
out."""
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class Spread:
    """map ← S · map, S the average over layers of self-attention [N, N], resized to the N pixels of the map.

    scale: of each layer before the average. resize: "grid" resizes queries and keys as the pictures that they are; "flattened",
    the release's, stretches the [n, n] matrix as one picture, which mixes ends of rows with beginnings of the next wherever the sizes differ (for
    parity only).
    """

    scale: Literal["none", "max_norm", "min_max_per_channel"] = "none"
    resize: Literal["grid", "flattened"] = "grid"

    def __call__(self, average: Tensor, self_maps: Sequence[Tensor]) -> Tensor:
        """average [B, h, w], self_maps [B, n, n] each, n in the proportions of h × w. ValueError for an n that is not."""
        height, width = average.shape[1:]
        resized = [self._resized(each.float(), height, width) for each in self_maps]
        layers = torch.stack(resized, 1)  # [B, L, N, N]
        if self.scale == "max_norm":
            layers = layers / (layers.amax((1, 2, 3), keepdim=True) + 1e-10)
        elif self.scale == "min_max_per_channel":
            low, high = layers.amin((2, 3), keepdim=True), layers.amax((2, 3), keepdim=True)
            layers = (layers - low) / (high - low + 1e-6)
        return (layers.mean(1) @ average.flatten(1)[..., None]).view_as(average)

    def _resized(self, matrix: Tensor, height: int, width: int) -> Tensor:
        count, pixels = matrix.shape[-1], height * width
        if self.resize == "flattened":
            return interpolate(matrix[:, None], (pixels, pixels), mode="bilinear")[:, 0]
        rows = isqrt(count * height // width)
        if rows == 0 or count % rows or rows * width != height * (count // rows):
            raise ValueError(f"Spread: self-attention over {count} pixels, expected a grid in the proportions of {height} × {width}.")
        grid = (rows, count // rows)
        keys = interpolate(matrix.view(-1, count, *grid), (height, width), mode="bilinear").flatten(2)  # [B, n, N]
        queries = interpolate(keys.transpose(1, 2).reshape(-1, pixels, *grid), (height, width), mode="bilinear").flatten(2)  # [B, N keys, N queries]
        return queries.transpose(1, 2)
