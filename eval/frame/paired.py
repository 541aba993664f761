"""Two models, or one model with and without a lever, on identical questions: McNemar's exact test (McNemar 1947) and a paired bootstrap."""
from collections.abc import Callable, Hashable, Sequence
from math import comb

import numpy as np

from eval.frame.benchmark import Row
from eval.frame.intervals import Score, clustered


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided exact p-value that both are right equally often, from the questions on which they differ. 1.0 when they never do."""
    gained = sum(b and not a for a, b in zip(first, second, strict=True))
    lost = sum(a and not b for a, b in zip(first, second, strict=True))
    n = gained + lost
    return min(1.0, 2 * sum(comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n)


def difference(
    clusters: Sequence[Hashable], first: np.ndarray, second: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray],
) -> Score:
    """statistic(second) - statistic(first); the bootstrap draws the same pictures for both. first, second: counts [R, K] as for `clustered`."""
    width = np.asarray(first).reshape(len(clusters), -1).shape[1]
    both = np.concatenate([np.asarray(first).reshape(-1, width), np.asarray(second).reshape(-1, width)], 1)
    return clustered(clusters, both, lambda s: statistic(s[..., width:]) - statistic(s[..., :width]), len(clusters))


def aligned(first: Sequence[Row], second: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Judged rows of two runs by id. Raises ValueError when they did not answer the same items."""
    other = {row["id"]: row for row in second}
    if [row["id"] for row in first] != list(other):
        odd = sorted({row["id"] for row in first} ^ set(other))[:3]
        raise ValueError(f"the runs answered different items ({len(first)} and {len(second)}; e.g. {', '.join(odd) or 'in another order'})")
    return [(row, other[row["id"]]) for row in first]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family of tests, in their order (Holm 1979): whoever rejects at alpha errs anywhere with at most that probability."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
