"""Random draws that are a pure function of a few integers, at about a tenth of a microsecond each."""
from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Purpose(IntEnum):
    """Last part of a stream's name: what is drawn for one item of one split."""

    SCENE, QUESTION_SET, EPISODE, CLIP, EDIT, SUBJECT = range(6)


class Draws:
    """A stream of random choices named by up to four integers: (seed, split, item, purpose).

    A trailing zero does not change the name: (1, 2, 3) and (1, 2, 3, 0) are the same stream. Uniform numbers are drawn in bulk: a single call
    into numpy costs more than all the choices of a scene.
    """

    def __init__(self, *name: int) -> None:
        if len(name) > 4 or any(not 0 <= part < 2**32 for part in name):
            raise ValueError(f"a random stream is named by up to four integers in [0, 2^32), got {name}; choose a smaller seed")
        self.generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(name)))
        self._pool: list[float] = []

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        if not self._pool:
            self._pool = self.generator.random(128).tolist()
        return self._pool.pop()

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.unit()

    def normal(self) -> float:
        """Standard normal."""
        return float(self.generator.standard_normal())

    def below(self, n: int) -> int:
        """Uniform in 0 .. n − 1."""
        return int(self.unit() * n)

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.unit() * len(items))]

    def weighted(self, weights: Sequence[float]) -> int:
        """An index, with probability proportional to its weight."""
        target = self.unit() * sum(weights)
        for index, reached in enumerate(accumulate(weights)):
            if target < reached:
                return index
        return len(weights) - 1

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` distinct items in random order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in range(count)]
