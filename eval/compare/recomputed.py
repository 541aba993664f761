"""Any metric of any benchmark, differenced by computing the benchmark's own numbers again and again.

A bootstrap would draw pictures twice, and a benchmark that counts groups would take the copies for one group. So each draw takes half of the
pictures, each once: what half of them give deviates from what all give as much as that deviates from the truth (the delete-d jackknife, d = n / 2:
Shao and Wu, "A general theory for jackknife variance estimation", Annals of Statistics 1989). The test exchanges the runs' answers picture by
picture, as in `draws`.
"""
import math
from collections.abc import Iterable, Sequence

import numpy as np

from eval.compare.draws import Difference, Level, exchanges, interval, p_value
from eval.frame.benchmark import Benchmark, Row
from eval.frame.intervals import values_only

FEWEST = 100
SMALL = 2000  # rows


def affordable(rows: int, draws: int) -> int:
    """How many draws a benchmark of so many rows gets, of those asked for: a tenth, and less where it is large."""
    return min(draws, max(FEWEST, draws // 10 * SMALL // max(rows, SMALL)))


def values(benchmark: Benchmark, rows: Sequence[Row]) -> dict[str, float]:
    """Metrics of judged rows, without intervals."""
    with values_only():
        return {name: float(score.value) for name, score in benchmark.aggregate(rows).scores.items()}


def recomputed(
    benchmark: Benchmark, first: Sequence[Row], second: Sequence[Row], names: Iterable[str], draws: int, seed: int = 0,
) -> dict[str, Difference]:
    """Differences of the metrics `names`, `second` less `first`: rows of the same items in the same order. Draws in which a metric is undefined are
    left out of it."""
    number: dict[str, int] = {}
    place = np.array([number.setdefault(benchmark.cluster(row), len(number)) for row in first])
    count, names = len(number), list(names)
    rng = np.random.default_rng(seed)
    halves = [place_in(rng.permutation(count)[:round(count / 2) or 1], count)[place] for _ in range(draws)]
    drawn = _table(benchmark, names, ((_chosen(first, half), _chosen(second, half)) for half in halves))
    changed = sorted({int(where) for where, one, other in zip(place, first, second, strict=True) if one != other})
    swaps = [place_in(np.asarray(changed, dtype=int)[swap > 0], count)[place] for part in exchanges(len(changed), draws, seed) for swap in part]
    exchanged = _table(benchmark, names, ((_mixed(first, second, swap), _mixed(second, first, swap)) for swap in swaps))
    whole = _table(benchmark, names, [(first, second)])
    return {name: _difference(whole[:, 0, k], drawn[:, :, k], exchanged[:, :, k], draws) for k, name in enumerate(names)}


def place_in(numbers: np.ndarray, count: int) -> np.ndarray:
    """bool [count], true at `numbers`."""
    found = np.zeros(count, dtype=bool)
    found[numbers] = True
    return found


def _table(benchmark: Benchmark, names: Sequence[str], pairs: Iterable[tuple[Sequence[Row], Sequence[Row]]]) -> np.ndarray:
    """[2, draws, names], NaN where a metric is undefined or a draw has none of its rows."""
    both = [[[found.get(name, math.nan) for name in names] for found in (values(benchmark, rows) for rows in pair)] for pair in pairs]
    return np.array(both, dtype=np.float64).reshape(-1, 2, len(names)).transpose(1, 0, 2)


def _difference(whole: np.ndarray, drawn: np.ndarray, exchanged: np.ndarray, draws: int) -> Difference:
    value = float(whole[1] - whole[0])
    levels = [Level(float(whole[side]), *interval(drawn[side], float(whole[side]))) for side in (0, 1)]
    return Difference(levels[0], levels[1], value, *interval(drawn[1] - drawn[0], value),
                      p_value(exchanged[1] - exchanged[0], value, exchanged.shape[1] < draws), draws, exchanged.shape[1])


def _chosen(rows: Sequence[Row], where: np.ndarray) -> list[Row]:
    return [row for row, is_in in zip(rows, where, strict=True) if is_in]


def _mixed(rows: Sequence[Row], others: Sequence[Row], swapped: np.ndarray) -> list[Row]:
    return [other if swap else row for row, other, swap in zip(rows, others, swapped, strict=True)]


