"""What a picture shows, read off in closed form: matching pursuit (Mallat & Zhang, IEEE Transactions on Signal Processing, 1993) with the world's own
masks in the world's own colours as the dictionary. It judges pictures that a model has drawn; it learns nothing, and needs no scene."""
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from data.world.scene import CELL, RADII
from data.world.shapes import all_masks
from data.world.vocabulary import COLOURS, RGB, SHAPES

MARGIN = 4  # px that an object may stand over the border
BRIGHT = 60.0  # grey levels from the background to an ink that make a pixel foreground
CLEAR = 0.5  # clarity of what counts as an object
MOST = 16  # objects of a picture
SPREAD = 9  # px, side of the window that background is averaged over


@dataclass(frozen=True, eq=False)
class Found:
    """One object of a picture. row, col: of its middle, in px. size: index into `RADII`. clarity: share of what stands out in its place that the
    template explains, 1 for a perfect drawing. mask: coverage, float32 [H, W] in [0, 1]."""

    shape: str
    colour: str
    row: float
    col: float
    size: int
    clarity: float
    mask: np.ndarray


def recognise(picture: np.ndarray, count: int | None = None) -> list[Found]:
    """The `count` objects that explain most of what stands out in uint8 [H, W, 3], the one that explains most first; None for as many as are clear.

    Of every shape, size, colour and place the one whose template lowers the squared error most is taken and painted into the explanation, `count`
    times over. Objects are expected opaque, and not hidden by others. Where there is no further object the best template makes things worse, and its
    clarity is far below 0: on true pictures of two objects above 0.95 for those, below −14 for a third.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape[:2]) < CELL:
        raise ValueError(f"recognise: found a picture {list(picture.shape)}, expected [H, W, 3] with sides of at least {CELL} px")
    pixels = torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1)
    behind = background(pixels)
    left = pixels - behind  # what is not explained yet
    found = []
    for _ in range(MOST if count is None else count):
        thing = best(left, behind)
        if count is None and thing.clarity < CLEAR:
            break
        found.append(thing)
        covered = torch.from_numpy(thing.mask)
        left = left - covered * (inks()[COLOURS.index(thing.colour)] - behind)
        left = left * (1 - covered.clamp(max=1))  # a place is taken once
    return found


def background(pixels: Tensor) -> Tensor:
    """[3, H, W] → the same without objects: pixels far from the median colour are replaced by the average of those near them that are not."""
    middle = pixels.flatten(1).median(1).values[:, None, None]
    plain = ((pixels - middle).abs().amax(0) < BRIGHT / 1.5).float()
    plain = 1 - torch.nn.functional.max_pool2d(1 - plain[None], 3, 1, 1)  # soft edges are no background
    weight = avg_pool2d(plain, SPREAD, 1, SPREAD // 2, count_include_pad=False)
    mean = avg_pool2d(pixels * plain, SPREAD, 1, SPREAD // 2, count_include_pad=False) / weight.clamp_min(1e-6)
    near = torch.where(weight > 0.05, mean, middle)
    return torch.where(plain > 0, pixels, near)


def best(left: Tensor, behind: Tensor) -> Found:
    """The template that explains most of `left` [3, H, W] over the background."""
    ink = inks() - behind.mean((1, 2), keepdim=True)  # [8, 3, 1, 1]: one contrast a colour, so that one correlation serves all places
    along = pad((left[None] * ink).sum(1, keepdim=True), (MARGIN,) * 4)  # [8, 1, H + 8, W + 8]
    strength = (ink * ink).sum((1, 2, 3))[:, None, None, None]
    gain = 2 * conv2d(along, templates()) - strength * templates().square().sum((1, 2, 3))[None, :, None, None]
    colour, template, row, col = (int(i) for i in np.unravel_index(int(gain.argmax()), gain.shape))
    top, left_edge = row - MARGIN, col - MARGIN
    whole = np.zeros(along.shape[2:], np.float32)
    whole[row:row + CELL, col:col + CELL] = templates()[template, 0].numpy()
    place = np.zeros_like(whole)
    place[row:row + CELL, col:col + CELL] = 1
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    mask, place = whole[inner], place[inner]
    seen = float((left.square() * torch.from_numpy(place)).sum())
    rest = left - torch.from_numpy(mask) * ink[colour]
    missed = float((rest.square() * torch.from_numpy(place)).sum())
    shape, size = divmod(template, len(RADII))
    return Found(SHAPES[shape], COLOURS[colour], top + CELL / 2 - 0.5, left_edge + CELL / 2 - 0.5, size, 1 - missed / max(seen, 1e-6), mask)


@cache
def templates() -> Tensor:
    """[36, 1, 16, 16]: shape by shape, size by size."""
    return torch.from_numpy(all_masks().reshape(-1, 1, CELL, CELL).copy())


@cache
def inks() -> Tensor:
    """[8, 3, 1, 1] in grey levels."""
    return torch.tensor(RGB, dtype=torch.float32)[:, :, None, None]
