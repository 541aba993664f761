"""How a picture of any size becomes the square that an encoder wants. One policy a class; training and inference share it."""
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate


class Resize(ABC):
    """uint8 [T, H, W, 3] → uint8 [T, 3, height, width]. A picture that already fits is passed on untouched."""

    def __call__(self, frames: np.ndarray, size: tuple[int, int]) -> Tensor:
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
            raise ValueError(f"frames are uint8 [T, H, W, 3] and not empty; got {frames.dtype} {list(frames.shape)}")
        picture = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
        return (picture if picture.shape[2:] == size else self.fit(picture, size)).contiguous()

    @abstractmethod
    def fit(self, picture: Tensor, size: tuple[int, int]) -> Tensor:
        """uint8 [T, 3, H, W] → uint8 [T, 3, *size]."""


class Squash(Resize):
    """Stretch both sides to fit: the whole picture, its proportions lost."""

    def fit(self, picture: Tensor, size: tuple[int, int]) -> Tensor:
        return scaled(picture, size)


class PadToSquare(Resize):
    """Scale to fit inside and pad with `fill`: the whole picture, proportions kept (LLaVA-1.5 pads with the encoder's mean colour)."""

    def __init__(self, fill: tuple[int, int, int] = (122, 116, 104)) -> None:
        self.fill = fill

    def fit(self, picture: Tensor, size: tuple[int, int]) -> Tensor:
        factor = min(size[0] / picture.shape[2], size[1] / picture.shape[3])
        height, width = (max(1, min(want, round(side * factor))) for side, want in zip(picture.shape[2:], size, strict=True))
        out = torch.tensor(self.fill, dtype=torch.uint8).view(1, 3, 1, 1).repeat(len(picture), 1, *size)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        out[:, :, top:top + height, left:left + width] = scaled(picture, (height, width))
        return out


class CenterCrop(Resize):
    """Scale to cover and cut the middle: proportions kept, the rim lost (CLIP)."""

    def fit(self, picture: Tensor, size: tuple[int, int]) -> Tensor:
        factor = max(size[0] / picture.shape[2], size[1] / picture.shape[3])
        # Cut before scaling: a very long picture would otherwise be enlarged whole for a strip of it.
        height, width = (max(1, min(side, round(want / factor))) for side, want in zip(picture.shape[2:], size, strict=True))
        top, left = (picture.shape[2] - height) // 2, (picture.shape[3] - width) // 2
        return scaled(picture[:, :, top:top + height, left:left + width], size)


def scaled(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic with antialiasing, as the encoders were trained. uint8 in, uint8 out."""
    if tuple(picture.shape[2:]) == tuple(size):
        return picture
    return interpolate(picture, size=size, mode="bicubic", antialias=True)
