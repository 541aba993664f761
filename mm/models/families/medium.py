"""Where the tokens of one image or clip lie."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Medium(NamedTuple):
    """One image or clip, token by token: frame (of a clip, or tile of a picture), row and col within it, each int64 [n], -1 where it has none."""

    frame: Tensor
    row: Tensor
    col: Tensor


def grid(rows: int, cols: int, frames: int = 1, first: int = 0) -> Medium:
    """`frames` full grids of rows x cols, one after another, each from left to right and from top to bottom; the first is frame `first`."""
    place = torch.arange(frames * rows * cols)
    return Medium(first + place // (rows * cols), place // cols % rows, place % cols)


def placeless(count: int, frame: int = -1) -> Medium:
    """`count` tokens without a place in a grid: newlines, a class token, pictures of unknown shape."""
    none = torch.full((count,), -1)
    return Medium(torch.full((count,), frame), none, none)


def lines(rows: int, cols: int, frame: int) -> Medium:
    """A grid whose rows each end with a newline token, which belongs to the frame and has no place in it."""
    end = torch.arange(rows * (cols + 1)) % (cols + 1) == cols
    place = grid(rows, cols + 1, first=frame)
    return Medium(place.frame, *(table.masked_fill(end, -1) for table in place[1:]))


def joined(*parts: Medium) -> Medium:
    """One medium that is made of parts."""
    return Medium(*(torch.cat(tables) for tables in zip(*parts, strict=True)))


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of a size that a configuration may give as one number."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
