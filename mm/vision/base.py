"""The protocol of every image encoder."""
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mm.vision.resize import Resize, Squash

Size = tuple[int, int]


class VisionEncoder(nn.Module, ABC):
    """uint8 frames [F, 3, H, W] → features [F, rows * cols, width], row by row, without class or register tokens.

    With `levels`, layers counted from the last as -1: [F, rows * cols, width * (1 + len(levels))], the features of each of them behind its own along
    the width, as an encoder that ends there would give them.

    Sets in its constructor, through `geometry`: width; image_size (H, W); grid (rows, cols). Normalisation happens inside and on the device, so that
    uint8 travels. resize: how pictures of other sizes are made to fit. cache: who knows features already, a `FeatureCache`; it is not saved with
    a model.
    """

    width: int
    image_size: Size
    grid: Size
    scale: Tensor
    shift: Tensor
    cache: Callable[["VisionEncoder", Tensor, Sequence[int]], Tensor] | None = None

    def __init__(self, resize: Resize | None = None) -> None:
        super().__init__()
        self.resize = resize or Squash()

    def geometry(self, width: int, image_size: Size, grid: Size, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """What the assembly needs to know; mean and std are of pixels in [0, 1]."""
        self.width, self.image_size, self.grid = width, image_size, grid
        deviation = torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * deviation), persistent=False)
        self.register_buffer("shift", -torch.tensor(mean).view(1, 3, 1, 1) / deviation, persistent=False)

    def forward(self, pixels: Tensor, levels: Sequence[int] = ()) -> Tensor:
        if tuple(pixels.shape[2:]) != self.image_size:
            raise ValueError(f"{type(self).__name__} takes frames of {self.image_size}, got {tuple(pixels.shape[2:])}; let the processor resize them")
        return self.encode(pixels, levels) if self.cache is None else self.cache(self, pixels, levels)

    def encode(self, pixels: Tensor, levels: Sequence[int] = ()) -> Tensor:
        """The features of frames of the right size, computed."""
        x = self.normalised(pixels)
        layers = self.features_at(x, levels) if levels else [self.features(x)]
        for features in layers:
            if features.shape[1:] != (self.grid[0] * self.grid[1], self.width):
                raise ValueError(f"{type(self).__name__} announced {self.grid[0]}x{self.grid[1]} features of width {self.width}, "
                                 f"but its model gave {list(features.shape[1:])}")
        return layers[0] if len(layers) == 1 else torch.cat(layers, -1)

    def check(self, levels: Sequence[int]) -> None:
        """ValueError naming the first of `levels` that this encoder cannot give, and why."""
        for level in levels:
            if (reason := self.refuses(level)) is not None:
                raise ValueError(f"{type(self).__name__} cannot give the features of layer {level} beside its last ones: {reason}")

    def refuses(self, level: int) -> str | None:
        """Why it cannot give this layer beside its last one, None if it can. An encoder that can overrides this and `features_at`."""
        return "it has no features but its last; use mm.vision.Timm, OpenCLIP or Transformers, or a projector without levels"

    def normalised(self, pixels: Tensor) -> Tensor:
        """uint8 frames as the encoder takes them."""
        return pixels.to(self.scale.dtype) * self.scale + self.shift

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Normalised frames [F, 3, H, W] → [F, rows * cols, width]."""

    def features_at(self, x: Tensor, levels: Sequence[int]) -> list[Tensor]:
        """What `features` gives and, behind it, the features of each of `levels`, in one pass. ValueError for a layer that `refuses` refuses."""
        self.check(levels)
        return [self.features(x)]


def square(size: int | Size | list[int]) -> Size:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
