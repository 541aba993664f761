"""Confidence intervals: Wilson's for proportions (Wilson 1927), a seeded percentile bootstrap over clusters for ratios such as F1 and CHAIR_i.

Questions about the same image are not independent, so the bootstrap draws images, not questions.
"""
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054  # two-sided 95 %
_draws: ContextVar[bool] = ContextVar("draws", default=True)


@dataclass(frozen=True)
class Score:
    """A metric with its 95 % interval. n: how many units (answers, captions, mentions) it is taken over. NaN where undefined."""

    value: float
    low: float
    high: float
    n: int


def ratio(hits: float, total: float) -> float:
    """hits / total, NaN when there is nothing to divide by."""
    return hits / total if total else math.nan


def proportion(hits: int, total: int) -> Score:
    """Share with Wilson's score interval, which stays inside [0, 1] and has width at 0 and 1."""
    if not total:
        return Score(math.nan, math.nan, math.nan, 0)
    p, z2 = hits / total, Z95 * Z95
    centre = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total * total))
    return Score(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)), total)


@contextmanager
def values_only() -> Iterator[None]:
    """`clustered` draws nothing inside the block, and its intervals are NaN: for metrics that are computed over and over, as by a bootstrap."""
    token = _draws.set(False)
    try:
        yield
    finally:
        _draws.reset(token)


def clustered(
    clusters: Sequence[Hashable], counts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], n: int, draws: int = 1000, seed: int = 0,
) -> Score:
    """Statistic of summed counts with a percentile bootstrap over clusters.

    clusters: name of each row's cluster (its image). counts: [R, K] what each row adds. statistic: sums [..., K] -> values [...], NaN where
    undefined; undefined draws are left out. The same rows and seed give the same interval.
    """
    if not len(clusters):
        return Score(math.nan, math.nan, math.nan, 0)
    counts = np.asarray(counts, dtype=np.float64).reshape(len(clusters), -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(counts.sum(0)))
        if math.isnan(value):
            return Score(math.nan, math.nan, math.nan, n)
        if not _draws.get():
            return Score(value, math.nan, math.nan, n)
        number = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
        summed = np.zeros((len(number), counts.shape[1]))
        np.add.at(summed, [number[name] for name in clusters], counts)
        times = np.random.default_rng(seed).multinomial(len(summed), np.full(len(summed), 1 / len(summed)), size=draws)
        drawn = statistic(times @ summed)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Score(value, float(low), float(high), n)
