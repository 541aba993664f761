"""Every run against the baseline: each metric's difference with interval and test, and which differences are certain."""
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from eval.compare import ranking
from eval.compare.answers import is_right, kind_of, p_yes, split_of, yes_no
from eval.compare.draws import DRAWS, Difference, Sums
from eval.compare.lengths import is_judged_alike, matched
from eval.compare.measures import Better, Counted, Unit, counted
from eval.compare.rebuilt import rebuilt
from eval.compare.recomputed import affordable, recomputed, values
from eval.compare.runs import Answered, Run
from eval.compare.same import paired
from eval.frame.benchmark import Benchmark, Row
from eval.frame.calibration import METRICS
from eval.frame.paired import holm, mcnemar

ALPHA = 0.05
ROUNDING = 1e-6
SAME_LENGTH = "same_length"
BINARY = ("accuracy", "chair_s")  # metrics that are shares of answers
Verdict = Literal["better", "worse", "differs", "not certain", ""]
How = Literal["counted", "ranked", "recomputed", "cut"]
LESS = ("chair", "hal", "hallucination", "cog", "error", "ece", "brier")  # last parts of names of metrics of which less is better ...
MORE = ("accuracy", "acc", "acc+", "accuracy_plus", "acc_plus", "precision", "recall", "f1", "score", "total", "cover", "auc", "amber", "mean",
        "logp_accuracy")  # ... and more; of others nothing is presumed


@dataclass(frozen=True)
class Comparison:
    """One metric of one run against the baseline. difference: with levels, interval and p. n: answers behind it. mcnemar: exact p over answers, which
    takes them for independent; None where answers are not right or wrong. p_holm: of the family's primary tests, None for metrics that describe.
    how: metrics of sums, of ranks, of the benchmark's own code, or of captions cut to the same length."""

    benchmark: str
    metric: str
    run: str
    difference: Difference
    n: int
    how: How
    better: Better | None
    unit: Unit = "share"
    is_primary: bool = False
    mcnemar: float | None = None
    p_holm: float | None = None
    verdict: Verdict = ""


@dataclass(frozen=True)
class Flips:
    """How answers of a split changed from the baseline to a run. changed: other words; gained: wrong, then right; lost: right, then wrong."""

    benchmark: str
    split: str
    run: str
    n: int
    changed: int
    gained: int
    lost: int
    both_wrong: int


@dataclass(frozen=True)
class SameLength:
    """How captions were cut: of the baseline, of the run, and the mean number of words left."""

    benchmark: str
    run: str
    n: int
    cut_first: int
    cut_second: int
    words: float


@dataclass(frozen=True)
class Against:
    """What one run is against the baseline on one benchmark."""

    comparisons: list[Comparison]
    flips: list[Flips]
    same_length: list[SameLength]
    remarks: list[str]


def against(name: str, first: Answered, second: Answered, run: str, draws: int = DRAWS, seed: int = 0) -> Against:
    """All metrics of `second` less those of `first`, without Holm's correction. ValueError where the runs were not asked the same."""
    benchmark, rows = rebuilt(first.result), list(first.rows)
    others = paired(benchmark, name, first, second)
    clusters = [benchmark.cluster(row) for row in rows]
    own = [values(benchmark, each) for each in (rows, others)]
    remarks = [f"{name}: {answered.path.name} says otherwise than its answers scored again here ({', '.join(wrong[:3])}); these are compared"
               for answered, found in zip((first, second), own, strict=True) if (wrong := _unlike(answered, found))]
    table = counted([*rows, *others])
    sums = Sums(clusters, table.counts(rows), table.counts(others), draws, seed)
    found = _counted(name, run, table, rows, others, sums)
    found += _ranked(name, run, rows, others, clusters, draws, seed)
    apart = {each.metric: each.is_primary for each in found if not _agrees(each, own)}
    found = [each for each in found if each.metric not in apart and not _is_mean_of(each.metric, apart, own)]
    rest = [metric for metric in own[0] if metric not in {each.metric for each in found}]
    if rest:
        again = recomputed(benchmark, rows, others, rest, affordable(len(rows), draws), seed)
        found += [Comparison(name, metric, run, each, len(rows), "recomputed", _presumed(metric), _unit(each),
                             (kind_of(rows) == "other" and not _describes(metric)) or apart.get(metric, False))
                  for metric, each in again.items()]
    cut, same_length, more = _at_the_same_length(name, run, benchmark, first.result.parser, rows, others, clusters, draws, seed)
    return Against([*found, *cut], flips(name, run, rows, others), same_length, [*remarks, *more])


def judged(family: Sequence[Comparison]) -> list[Comparison]:
    """With Holm's correction over the primary ones, and verdicts on these."""
    primary = [each for each in family if each.is_primary]
    corrected = iter(holm([each.difference.p for each in primary]))
    return [replace(each, p_holm=(p := next(corrected)), verdict=_verdict(each, p)) if each.is_primary else each for each in family]


def _verdict(found: Comparison, p: float) -> Verdict:
    value = found.difference.value
    if p >= ALPHA or value == 0 or math.isnan(value):
        return "not certain"
    if found.better is None:
        return "differs"
    return "better" if (value > 0) == (found.better == "more") else "worse"


def flips(name: str, run: str, first: Sequence[Row], second: Sequence[Row]) -> list[Flips]:
    found = []
    for split in dict.fromkeys(map(split_of, first)):
        pairs = [(one, other) for one, other in zip(first, second, strict=True) if split_of(one) == split]
        right = [(is_right(one), is_right(other)) for one, other in pairs]
        found.append(Flips(name, split, run, len(pairs), sum(one["answer"] != other["answer"] for one, other in pairs),
                           right.count((False, True)), right.count((True, False)), right.count((False, False))))
    return found


def _describes(metric: str) -> bool:
    """How sure a run is of its answers is described, not tested, as where it is counted."""
    return metric.rpartition("/")[2] in METRICS


# --- kinds of metrics


def _counted(name: str, run: str, table: Counted, first: Sequence[Row], second: Sequence[Row], sums: Sums) -> list[Comparison]:
    """Of measures that are right or wrong answer by answer, McNemar's test too."""
    binary = {f"{split}/{metric}" if split else metric for split in table.splits for metric in BINARY}
    found = []
    for measure in table.measures:
        split = measure.name.rpartition("/")[0]
        rows = [(one, other) for one, other in zip(first, second, strict=True) if split in ("mean", split_of(one))]
        test = mcnemar(*([bool(is_right(pair[side])) for pair in rows] for side in (0, 1))) if measure.name in binary else None
        found.append(Comparison(name, measure.name, run, sums.difference(measure.statistic), len(rows), "counted", measure.better, measure.unit,
                                measure.is_primary, test))
    return found


def _ranked(name: str, run: str, first: Sequence[Row], second: Sequence[Row], clusters: Sequence[str], draws: int, seed: int) -> list[Comparison]:
    """Areas under the curve, of splits with both labels and recorded probabilities."""
    found = []
    for split in dict.fromkeys(map(split_of, first)) if kind_of(first) == "yes_no" else ():
        where = [place for place, row in enumerate(first) if split_of(row) == split]
        rows = [[of_run[place] for place in where] for of_run in (first, second)]
        if len({yes_no(row)[1] for row in rows[0]}) == 2 and all(p_yes(row) is not None for of_run in rows for row in of_run):
            area = ranking.auc_difference(rows[0], rows[1], [clusters[place] for place in where], draws, seed)
            found.append(Comparison(name, f"{split}/auc" if split else "auc", run, area, len(where), "ranked", "more"))
    return found


def _at_the_same_length(
    name: str, run: str, benchmark: Benchmark, parser: str, first: Sequence[Row], second: Sequence[Row], clusters: Sequence[str], draws: int,
    seed: int,
) -> tuple[list[Comparison], list[SameLength], list[str]]:
    if kind_of([*first, *second]) != "captions":
        return [], [], []
    if type(benchmark).consult is not Benchmark.consult:
        return [], [], [f"{name}: no comparison at the same length, for another model reads its captions"]
    try:
        if not is_judged_alike(benchmark, parser, first):
            return [], [], [f"{name}: captions judged again here get other verdicts than in the result, so there is no comparison at the same length"]
        cut = matched(benchmark, parser, first, second)
    except (ValueError, OSError, ImportError) as error:
        return [], [], [f"{name}: no comparison at the same length, for captions cannot be judged again here: {error}"]
    table = counted([*cut.first, *cut.second])
    sums = Sums(clusters, table.counts(cut.first), table.counts(cut.second), draws, seed)
    found = [replace(each, metric=f"{SAME_LENGTH}/{each.metric}", how="cut")
             for each in _counted(name, run, table, cut.first, cut.second, sums) if each.is_primary]
    return found, [SameLength(name, run, len(first), *cut.cut, cut.words)], []


# --- what the benchmark itself says


def _unlike(answered: Answered, found: dict[str, float]) -> list[str]:
    """Metrics that a result states in another way."""
    stated = {metric: score["value"] for metric, score in answered.result.scores.items()}
    return [metric for metric in stated if not _equal(math.nan if stated[metric] is None else stated[metric], found.get(metric))]


def _agrees(found: Comparison, own: Sequence[dict[str, float]]) -> bool:
    """Whether a metric that the benchmark has under the same name has the same values: the benchmark's definition goes before ours."""
    levels = found.difference.first.value, found.difference.second.value
    return all(found.metric not in of_run or _equal(of_run[found.metric], level) for of_run, level in zip(own, levels, strict=True))


def _is_mean_of(metric: str, apart: Iterable[str], own: Sequence[dict[str, float]]) -> bool:
    """Whether it is our mean of metrics that the benchmark defines otherwise: AMBER's F1, which is that of no."""
    of, _, last = metric.rpartition("/")
    return of == "mean" and all(metric not in of_run for of_run in own) and any(each.rpartition("/")[2] == last for each in apart)


def _equal(one: float, other: float | None) -> bool:
    return other is not None and (abs(one - other) <= ROUNDING or (math.isnan(one) and math.isnan(other)))


def _presumed(metric: str) -> Better | None:
    last = metric.rpartition("/")[2].lower()
    return "less" if last in LESS else "more" if last in MORE else None


def _unit(found: Difference) -> Unit:
    """Metrics of unknown benchmarks are shares as long as they lie between 0 and 1."""
    return "share" if all(math.isnan(level.value) or 0 <= level.value <= 1 for level in (found.first, found.second)) else "number"


def compared(runs: Sequence[Run], draws: int = DRAWS, seed: int = 0) -> Against:
    """Every other run against the first on everything that they share, with Holm's correction over all primary tests."""
    parts = [against(name, baseline, run.results[name], run.name, draws, seed) for name, baseline in runs[0].results.items() for run in runs[1:]]
    return Against(judged([each for part in parts for each in part.comparisons]), [each for part in parts for each in part.flips],
                   [each for part in parts for each in part.same_length], [remark for part in parts for remark in part.remarks])
