"""Connected regions of a mask, and which of them count."""
from abc import ABC, abstractmethod

import numpy as np


class Regions(ABC):
    """Chooses among the regions of a mask."""

    @abstractmethod
    def chosen(self, size: np.ndarray, amount: np.ndarray) -> np.ndarray:
        """size: pixels of each region, int64 [R]. amount: what the map has on it, float64 [R]. bool [R]."""

    def __call__(self, mask: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """bool [H, W], of the mask the regions that count; scores: float [H, W]."""
        found = regions(mask)
        count = int(found.max(initial=0))
        size = np.bincount(found.ravel(), minlength=count + 1)[1:]
        amount = np.bincount(found.ravel(), scores.ravel(), count + 1)[1:]
        return np.append(False, self.chosen(size, amount))[found]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class MostAttended(Regions):
    """The share of regions that the map has most on, `least` of them at least."""

    def __init__(self, share: float = 0.2, least: int = 3) -> None:
        self.share, self.least = share, least

    def chosen(self, size: np.ndarray, amount: np.ndarray) -> np.ndarray:
        return among_first(amount, max(self.least, int(self.share * len(amount))))


class Largest(Regions):
    """The `count` regions with the most pixels."""

    def __init__(self, count: int = 1) -> None:
        self.count = count

    def chosen(self, size: np.ndarray, amount: np.ndarray) -> np.ndarray:
        return among_first(size, self.count)


class NotTiny(Regions):
    """Regions that have `share` of the mask's pixels at least."""

    def __init__(self, share: float = 0.1) -> None:
        self.share = share

    def chosen(self, size: np.ndarray, amount: np.ndarray) -> np.ndarray:
        return size >= self.share * size.sum()


def among_first(value: np.ndarray, count: int) -> np.ndarray:
    """bool [R]: the `count` highest; of equal ones the first."""
    kept = np.zeros(len(value), dtype=bool)
    kept[np.argsort(-value, kind="stable")[:count]] = True
    return kept


def regions(mask: np.ndarray) -> np.ndarray:
    """bool [H, W] → int64 [H, W]: 1, 2, ... on regions whose pixels touch along edges, in reading order of their first pixels; 0 elsewhere."""
    height, width = mask.shape
    line = np.zeros((height, width + 1), dtype=np.int8)  # a column that is none parts the rows
    line[:, :width] = mask
    edge = np.flatnonzero(np.diff(line.ravel(), prepend=0))
    start, stop = edge[::2], edge[1::2]  # runs of pixels, in reading order
    above = np.searchsorted(stop, start - width - 1, side="right")  # the first run of the row above that reaches beyond where a run starts
    below = np.searchsorted(start, stop - width - 1, side="left")
    root = list(range(len(start)))

    def first_of(run: int) -> int:
        while root[run] != run:
            root[run] = root[root[run]]
            run = root[run]
        return run

    for run, (begin, end) in enumerate(zip(above.tolist(), below.tolist(), strict=True)):
        for touching in range(begin, end):
            one, other = sorted((first_of(run), first_of(touching)))
            root[other] = one
    _, owner = np.unique([first_of(run) for run in range(len(start))], return_inverse=True)
    marks = np.zeros(line.size + 1, dtype=np.int64)
    marks[start] = owner + 1
    marks[stop] -= owner + 1
    return marks[:-1].cumsum().reshape(line.shape)[:, :width]


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of what is True, the last two behind it. ValueError where nothing is."""
    cols, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(cols):
        raise ValueError(f"a mask of {mask.shape[0]} x {mask.shape[1]} pixels has nothing in it, so there is no box around it")
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1
