"""How sure a model is of yes and no, and whether it should be: expected calibration error (Guo et al., "On Calibration of Modern Neural Networks",
ICML 2017), Brier score (Brier 1950), and area under the ROC curve, which is the statistic of Mann and Whitney (1947).

Greedy text says yes or no; the log-probabilities of both say how nearly it was the other. The area needs no threshold, so it tells a model that sees
worse from one that merely says yes more often.
"""
import math
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from eval.frame.choices import share
from eval.frame.intervals import Score, clustered, weighted

WORLD = ("yes", "no")  # candidates of an item: as the procedural world's answers are written
SPELLINGS = ("Yes", "No", "yes", "no")  # and as models of natural language write them, some so, some so
BINS = 15
METRICS = ("auc", "ece", "brier", "logp_accuracy")


def p_yes(logp: Mapping[str, float] | None) -> float | None:
    """P(yes) against no, from the log-probabilities of whole answers: the spellings of a word count together, whatever their case.

    So nobody has to know whether a model says "Yes" or "yes": what it does not say adds next to nothing. An answer's end is part of it; of a model
    that would go on behind "Yes", "Yes" alone is what is compared. None where one of the words was not asked for, and where the numbers say
    nothing: not a number, as of a model that overflows, or no probability for either.
    """
    return _p_yes(tuple((logp or {}).items()))


@lru_cache(maxsize=2**17)  # comparisons compute metrics of the same rows thousands of times
def _p_yes(logp: tuple[tuple[str, float], ...]) -> float | None:
    words: dict[str, list[float]] = {"yes": [], "no": []}
    for text, value in logp:
        words.get(text.strip().lower(), []).append(value)
    if not words["yes"] or not words["no"]:
        return None
    if any(map(math.isnan, words["yes"] + words["no"])) or max(words["yes"] + words["no"]) == -math.inf:
        return None
    yes, no = (np.logaddexp.reduce(values) for values in words.values())
    return float(np.exp(-np.logaddexp(0.0, no - yes)))


def calibration(logps: Sequence[Mapping[str, float] | None], is_yes: Sequence[bool], pictures: Sequence[Hashable]) -> dict[str, Score]:
    """`METRICS` of the answers whose log-probabilities are known; none of them where there are no such answers.

    logps: of each answer, the log-probabilities of its candidates. is_yes: whether yes is right. pictures: what the bootstrap draws.
    auc: how often a question whose answer is yes gets a higher P(yes) than one whose answer is no, half of a tie; NaN without both. ece: of P(yes) in
    15 bins of equal width, the mean distance between P(yes) and the share of yes. brier: mean squared distance between P(yes) and the answer.
    logp_accuracy: of saying yes above one half. Draws estimate an ece too high, as samples do, so its interval is stretched down to the value.
    """
    known = [(sure, truth, picture) for logp, truth, picture in zip(logps, is_yes, pictures, strict=True) if (sure := p_yes(logp)) is not None]
    if not known:
        return {}
    p, yes = np.array([row[0] for row in known]), np.array([row[1] for row in known], dtype=np.float64)
    clusters = [row[2] for row in known]
    ece = clustered(clusters, _binned(p, yes), _ece, len(known))
    brier = clustered(clusters, np.stack([(p - yes) ** 2, np.ones_like(p)], 1), lambda s: s[..., 0] / s[..., 1], len(known))
    return {"auc": _auc(p, yes, clusters), "ece": Score(ece.value, min(ece.low, ece.value), max(ece.high, ece.value), ece.n), "brier": brier,
            "logp_accuracy": share(((p > 0.5) == (yes > 0.5)).tolist(), clusters)}


def _auc(p: np.ndarray, yes: np.ndarray, clusters: Sequence[Hashable]) -> Score:
    """Exact with ties: rows of equal probability are one group, and each yes beats what lies below its group and half of what lies in it."""
    order = np.argsort(p, kind="stable")
    begins = np.flatnonzero(np.append(True, np.diff(p[order]) > 0))

    def area(times: np.ndarray) -> np.ndarray:
        rows = times[..., order]
        positive, negative = (np.add.reduceat(rows * side, begins, axis=-1) for side in (yes[order], 1 - yes[order]))
        below = negative.cumsum(-1) - negative
        return np.asarray((positive * (below + negative / 2)).sum(-1) / (positive.sum(-1) * negative.sum(-1)))

    return weighted(clusters, area)


def _binned(p: np.ndarray, yes: np.ndarray) -> np.ndarray:
    """[R, 2 * BINS]: P(yes) minus the answer, and one, in the columns of the row's bin."""
    counts = np.zeros((len(p), BINS, 2))
    counts[np.arange(len(p)), np.minimum((p * BINS).astype(int), BINS - 1)] = np.stack([p - yes, np.ones_like(p)], 1)
    return counts.reshape(len(p), -1)


def _ece(sums: np.ndarray) -> np.ndarray:
    bins = sums.reshape(*sums.shape[:-1], BINS, 2)
    return np.asarray(np.abs(bins[..., 0]).sum(-1) / bins[..., 1].sum(-1))
