"""A lever against its control on identical questions, over all seeds: how large the difference is, and whether it may be chance."""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from eval.frame.benchmark import Row
from eval.frame.paired import aligned, holm, mcnemar
from eval.laboratory.crossed import crossed
from eval.laboratory.measures import Measure

ALPHA = 0.05
Verdict = Literal["helps", "harms", "not significant"]
Answers = Sequence[Sequence[Row]]  # judged rows of one lever, by seed


@dataclass(frozen=True)
class Comparison:
    """lever, control, measure: names. before, after: the measure of control and lever over all seeds. value, low, high: their difference with its
    95 % interval, drawn over seeds and pictures; p: of the same draws; p_holm: within the family. by_seed: the difference in each.

    mcnemar: exact p of the pooled answers, which knows neither pictures nor seeds and so takes more for certain than is; None where answers are not
    right or wrong. n: answers of the lever, of all seeds. verdict: of p_holm.
    """

    lever: str
    control: str
    measure: str
    n: int
    before: float
    after: float
    value: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    mcnemar: float | None
    p: float
    p_holm: float = 1.0
    verdict: Verdict = "not significant"


def compare(lever: str, control: str, measure: Measure, before: Answers, after: Answers) -> Comparison:
    """before, after: rows of control and lever, of the same seeds in the same order. ValueError where they did not answer the same items."""
    pairs = [[pair for pair in aligned(one, other) if measure.rows(pair[0])] for one, other in zip(before, after, strict=True)]
    first, second = (sums([[pair[side] for pair in of_seed] for of_seed in pairs], measure) for side in (0, 1))
    estimate = crossed(first, second)
    levels = [float(part[..., 0].sum() / part[..., 1].sum()) for part in (first, second)]
    by_seed = second.sum(1)[:, 0] / second.sum(1)[:, 1] - first.sum(1)[:, 0] / first.sum(1)[:, 1]
    test = None
    if measure.is_share:
        test = mcnemar(*([bool(measure.adds(pair[side])[0]) for of_seed in pairs for pair in of_seed] for side in (0, 1)))
    return Comparison(lever, control, measure.name, sum(map(len, pairs)), levels[0], levels[1], estimate.value, estimate.low, estimate.high,
                      tuple(map(float, by_seed)), test, estimate.p)


def sums(rows: Answers, measure: Measure) -> np.ndarray:
    """[S, P, 2]: what each picture adds to numerator and denominator under each seed."""
    pictures = {name: place for place, name in enumerate(dict.fromkeys(row["picture"] for row in rows[0]))}
    found = np.zeros((len(rows), len(pictures), 2))
    for seed, of_seed in enumerate(rows):
        for row in of_seed:
            found[seed, pictures[row["picture"]]] += measure.adds(row)
    return found


def judged(family: Sequence[Comparison], measures: Sequence[Measure]) -> list[Comparison]:
    """The family with Holm's correction over all of it, and verdicts."""
    better = {measure.name: measure.larger_is_better for measure in measures}
    return [replace(found, p_holm=p, verdict=_verdict(found, p, better[found.measure]))
            for found, p in zip(family, holm([found.p for found in family]), strict=True)]


def _verdict(found: Comparison, p: float, larger_is_better: bool) -> Verdict:
    if p > ALPHA or found.value == 0:
        return "not significant"
    return "helps" if (found.value > 0) == larger_is_better else "harms"
