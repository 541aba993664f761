"""A difference of two runs on the same pictures: its interval from a paired bootstrap, its p-value from exchanging the runs.

The bootstrap (Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979) draws pictures with all of their answers, the
same for both runs, because questions about one picture are not independent. The test exchanges the two runs' answers to a picture at random
(approximate randomization: Noreen, "Computer-Intensive Methods for Testing Hypotheses", 1989), which would not matter if all were chance.
With one question a picture and right or wrong answers, it is McNemar's exact test; unlike the bootstrap it calls nothing certain that rests on three
pictures.
"""
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

DRAWS = 10_000
CHUNK = 500  # draws at once
TINY = 1e-12  # what rounding makes of equal differences
Statistic = Callable[[np.ndarray], np.ndarray]  # sums [..., K] -> values [...]


@dataclass(frozen=True)
class Level:
    """A metric of one run with its 95 % interval, NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """first, second: the metric of the two runs. value: second less first, with its 95 % interval. p: two-sided, 1 where nothing is defined.
    draws: behind the interval. swaps: behind p."""

    first: Level
    second: Level
    value: float
    low: float
    high: float
    p: float
    draws: int
    swaps: int


class Sums:
    """Sums over answers that metrics are made of, under two runs.

    clusters: the picture of each answer. first, second: [R, K], what each adds. The same sums and seed give the same estimates. Where fewer than
    log2(draws) pictures differ, all exchanges are tried and p is exact.
    """

    def __init__(self, clusters: Sequence[Hashable], first: np.ndarray, second: np.ndarray, draws: int = DRAWS, seed: int = 0) -> None:
        if first.shape != second.shape or first.ndim != 2 or len(first) != len(clusters) or not len(clusters):
            raise ValueError(f"two runs on the same items add [answers, sums] each; got {first.shape} and {second.shape} for {len(clusters)} answers")
        number = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
        place = [number[name] for name in clusters]
        self.by_cluster = np.zeros((2, len(number), first.shape[1]))
        for side, counts in enumerate((first, second)):
            np.add.at(self.by_cluster[side], place, counts)
        self.draws, self.seed = draws, seed

    @cached_property
    def drawn(self) -> np.ndarray:
        """Sums of both runs over pictures drawn with replacement, [2, draws, K]."""
        rng, count = np.random.default_rng(self.seed), self.by_cluster.shape[1]
        both = np.concatenate(list(self.by_cluster), 1)
        sums = [rng.multinomial(count, np.full(count, 1 / count), size=size) @ both for size in _chunks(self.draws)]
        return np.stack(np.split(np.concatenate(sums), 2, axis=1))

    @cached_property
    def exchanged(self) -> np.ndarray:
        """Sums of both runs with their answers to some of the pictures exchanged, [2, swaps, K]."""
        change = self.by_cluster[1] - self.by_cluster[0]
        change = change[(change != 0).any(1)]
        moved = np.concatenate([swapped @ change for swapped in exchanges(len(change), self.draws, self.seed)])
        return self.by_cluster.sum(1)[:, None] + np.stack([moved, -moved])

    @property
    def is_exact(self) -> bool:
        """Whether all exchanges were tried."""
        return len(self.exchanged[0]) < self.draws

    def difference(self, statistic: Statistic) -> Difference:
        with np.errstate(invalid="ignore", divide="ignore"):
            values, drawn, exchanged = (statistic(sums) for sums in (self.by_cluster.sum(1), self.drawn, self.exchanged))
        value = float(values[1] - values[0])
        low, high = interval(drawn[1] - drawn[0], value)
        first, second = (Level(float(values[side]), *interval(drawn[side], float(values[side]))) for side in (0, 1))
        return Difference(first, second, value, low, high, p_value(exchanged[1] - exchanged[0], value, self.is_exact), self.draws, len(exchanged[0]))


def exchanges(count: int, draws: int, seed: int) -> list[np.ndarray]:
    """Which of `count` pictures have their runs exchanged, float64 [draws, count] in pieces: all ways where these are fewer than `draws`."""
    if count < math.log2(draws):
        return [(np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.float64)]
    rng = np.random.default_rng(seed + 1)
    return [rng.integers(0, 2, (size, count)).astype(np.float64) for size in _chunks(draws)]


def interval(drawn: np.ndarray, value: float) -> tuple[float, float]:
    """The middle 95 % of the draws that are defined."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or math.isnan(value):
        return math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def p_value(exchanged: np.ndarray, value: float, is_exact: bool) -> float:
    """Share of the exchanges that give a difference as large; what was observed is one of them. Where some were tried and none is as large, p is less
    than so many can show: the tail of a normal distribution of their spread stands for it, which sums over many pictures have."""
    exchanged = exchanged[np.isfinite(exchanged)]
    if math.isnan(value) or not len(exchanged):
        return 1.0
    as_large = int((np.abs(exchanged) >= abs(value) - TINY).sum())
    if is_exact:
        return as_large / len(exchanged)
    least = (as_large + 1) / (len(exchanged) + 1)
    spread = float(np.sqrt((exchanged**2).mean()))
    return least if as_large or not spread else min(least, math.erfc(abs(value) / spread / math.sqrt(2)))


def _chunks(draws: int) -> list[int]:
    return [min(CHUNK, draws - start) for start in range(0, draws, CHUNK)]
