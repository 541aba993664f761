"""The protocol of every image encoder."""
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mm.vision.resize import Resize, Squash

Size = tuple[int, int]


class VisionEncoder(nn.Module, ABC):
    """uint8 frames [F, 3, H, W] → features [F, rows * cols, width], row by row, without class or register tokens.

    Sets in its constructor, through `geometry`: width; image_size (H, W); grid (rows, cols). Normalisation happens inside and on the device, so that
    uint8 travels. resize: how pictures of other sizes are made to fit. cache: who knows features already, a `FeatureCache`; it is not saved with
    a model.
    """

    width: int
    image_size: Size
    grid: Size
    scale: Tensor
    shift: Tensor
    cache: Callable[["VisionEncoder", Tensor], Tensor] | None = None

    def __init__(self, resize: Resize | None = None) -> None:
        super().__init__()
        self.resize = resize or Squash()

    def geometry(self, width: int, image_size: Size, grid: Size, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """What the assembly needs to know; mean and std are of pixels in [0, 1]."""
        self.width, self.image_size, self.grid = width, image_size, grid
        deviation = torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * deviation), persistent=False)
        self.register_buffer("shift", -torch.tensor(mean).view(1, 3, 1, 1) / deviation, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        if tuple(pixels.shape[2:]) != self.image_size:
            raise ValueError(f"{type(self).__name__} takes frames of {self.image_size}, got {tuple(pixels.shape[2:])}; let the processor resize them")
        return self.encode(pixels) if self.cache is None else self.cache(self, pixels)

    def encode(self, pixels: Tensor) -> Tensor:
        """The features of frames of the right size, computed."""
        features = self.features(self.normalised(pixels))
        if features.shape[1:] != (self.grid[0] * self.grid[1], self.width):
            raise ValueError(f"{type(self).__name__} announced {self.grid[0]}x{self.grid[1]} features of width {self.width}, "
                             f"but its model gave {list(features.shape[1:])}")
        return features

    def normalised(self, pixels: Tensor) -> Tensor:
        """uint8 frames as the encoder takes them."""
        return pixels.to(self.scale.dtype) * self.scale + self.shift

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Normalised frames [F, 3, H, W] → [F, rows * cols, width]."""


def square(size: int | Size | list[int]) -> Size:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
