"""Area under the ROC curve of P(yes): how often a question whose answer is yes gets a higher probability than one whose answer is no.

It is no ratio of sums over answers, so each draw weighs the answers anew, in the order of their probabilities.
"""
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from eval.compare.answers import p_yes, yes_no
from eval.compare.draws import Difference, Level, exchanges, interval, p_value
from eval.frame.benchmark import Row

DRAWS = 1000
CHUNK = 100


@dataclass(frozen=True)
class Ranked:
    """Answers of two runs in the order of their probability. starts: of each run of equal ones. is_yes, side, cluster: of each answer."""

    starts: np.ndarray
    is_yes: np.ndarray
    side: np.ndarray
    cluster: np.ndarray

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """weights: [..., 2R] of the answers. NaN where there is no yes or no no."""
        yes, no = (np.add.reduceat(weights * of, self.starts, axis=-1) for of in (self.is_yes, 1 - self.is_yes))
        below = np.cumsum(no, -1) - no
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((yes * (below + no / 2)).sum(-1) / (yes.sum(-1) * no.sum(-1)))


def ranked(first: Sequence[Row], second: Sequence[Row], clusters: Sequence[Hashable]) -> Ranked:
    rows = [*first, *second]
    p = np.array([p_yes(row) for row in rows], dtype=np.float64)
    order = np.argsort(p, kind="stable")
    number = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    cluster = np.array([number[name] for name in (*clusters, *clusters)])
    side = np.repeat([0, 1], len(first))
    is_yes = np.array([yes_no(row)[1] == "yes" for row in rows], dtype=np.float64)
    starts = np.flatnonzero(np.diff(p[order], prepend=-1.0))
    return Ranked(starts, is_yes[order], side[order], cluster[order])


def auc_difference(first: Sequence[Row], second: Sequence[Row], clusters: Sequence[Hashable], draws: int = DRAWS, seed: int = 0) -> Difference:
    """`second` less `first`, as of `draws.Sums`, from at most `DRAWS` draws. Rows of one split, with log-probabilities of yes and no."""
    found, draws = ranked(first, second, clusters), min(draws, DRAWS)
    count = int(found.cluster.max()) + 1
    own = np.stack([found.side == side for side in (0, 1)]).astype(np.float64)
    rng = np.random.default_rng(seed)
    times = (rng.multinomial(count, np.full(count, 1 / count), size=min(CHUNK, draws - start)) for start in range(0, draws, CHUNK))
    drawn = np.concatenate([found.auc(part[:, found.cluster] * own[:, None]) for part in times], 1)
    changed = _changed(first, second, clusters)
    exchanged = np.concatenate([found.auc(_exchanged(part, changed, own, found.cluster)) for part in exchanges(len(changed), draws, seed)], 1)
    values = found.auc(own)
    value = float(values[1] - values[0])
    levels = [Level(float(values[side]), *interval(drawn[side], float(values[side]))) for side in (0, 1)]
    return Difference(levels[0], levels[1], value, *interval(drawn[1] - drawn[0], value),
                      p_value(exchanged[1] - exchanged[0], value, exchanged.shape[1] < draws), draws, exchanged.shape[1])


def _changed(first: Sequence[Row], second: Sequence[Row], clusters: Sequence[Hashable]) -> list[int]:
    """Numbers of the pictures with a probability that changed."""
    changed = {name for one, other, name in zip(first, second, clusters, strict=True) if p_yes(one) != p_yes(other)}
    return [place for place, name in enumerate(dict.fromkeys(clusters)) if name in changed]


def _exchanged(swapped: np.ndarray, changed: Sequence[int], own: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Weights [2, draws, 2R] of the answers for each side, where `swapped` [draws, pictures] says whose answers are exchanged."""
    every = np.zeros((len(swapped), int(cluster.max()) + 1))
    every[:, changed] = swapped
    moved = every[:, cluster]
    return own[:, None] * (1 - moved) + own[::-1, None] * moved
