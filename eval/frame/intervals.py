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
    """`clustered` and `weighted` draw nothing inside the block, and intervals are NaN: for metrics that are computed again and again, as by draws."""
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
        owner, times = _drawn(clusters, draws, seed)
        summed = np.zeros((times.shape[1], counts.shape[1]))
        np.add.at(summed, owner, counts)
        drawn = statistic(times @ summed)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Score(value, float(low), float(high), n)


def weighted(
    clusters: Sequence[Hashable], statistic: Callable[[np.ndarray], np.ndarray], draws: int = 1000, seed: int = 0, part: int = 50,
) -> Score:
    """Likewise for a statistic that is none of sums, such as a rank statistic: how often each row is drawn [..., R] -> values [...].

    The draws are those of `clustered`. part: draws that are held in memory at a time.
    """
    if not len(clusters):
        return Score(math.nan, math.nan, math.nan, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(np.ones(len(clusters))))
        if math.isnan(value) or not _draws.get():
            return Score(value, math.nan, math.nan, len(clusters))
        owner, times = _drawn(clusters, draws, seed)
        drawn = np.concatenate([statistic(times[at:at + part, owner].astype(np.float64)) for at in range(0, draws, part)])
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Score(value, float(low), float(high), len(clusters))


def _drawn(clusters: Sequence[Hashable], draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster of each row [R], and how often each draw holds each cluster [draws, clusters]."""
    number = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    times = np.random.default_rng(seed).multinomial(len(number), np.full(len(number), 1 / len(number)), size=draws)
    return np.array([number[name] for name in clusters]), times
