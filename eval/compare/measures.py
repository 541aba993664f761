"""Metrics that are ratios of sums over answers, so that a thousand draws of them cost one product of matrices.

Which a benchmark has follows from its judged rows: `correct` gives accuracy; yes/no labels and predictions give precision, recall, F1 and yes-ratio;
recorded log-probabilities of yes and no give Brier's score, the calibration error of P(yes) and the accuracy of the likelier word; the fields of
CHAIR give its rates with recall, F1 and length.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from eval.compare.answers import Kind, kind_of, p_yes, split_of, yes_no
from eval.frame.benchmark import Row

Better = Literal["more", "less"]
Unit = Literal["share", "number"]
BINS = 15  # of the calibration error, as in Guo et al., "On Calibration of Modern Neural Networks", ICML 2017


@dataclass(frozen=True)
class Measure:
    """A metric by its name, "<split>/<metric>" where there are splits. statistic: of sums [..., K]. better: which way, None for neither.
    is_primary: whether it is among what a comparison tests, rather than describes."""

    name: str
    statistic: Callable[[np.ndarray], np.ndarray]
    better: Better | None
    is_primary: bool = False
    unit: Unit = "share"


@dataclass(frozen=True)
class Block:
    """adds: what one answer adds to `width` sums. columns: metrics of these sums, each without its split."""

    adds: Callable[[Row], Sequence[float]]
    width: int
    columns: tuple[Measure, ...]


@dataclass(frozen=True)
class Counted:
    """measures: of sums over answers that `counts` gives."""

    measures: tuple[Measure, ...]
    blocks: tuple[Block, ...]
    splits: tuple[str, ...]

    def counts(self, rows: Sequence[Row]) -> np.ndarray:
        """[R, K] what each answer adds; zeros to the sums of other splits."""
        width = sum(block.width for block in self.blocks)
        found = np.zeros((len(rows), len(self.splits), width))
        place = {split: number for number, split in enumerate(self.splits)}
        for number, row in enumerate(rows):
            found[number, place[split_of(row)]] = [value for block in self.blocks for value in block.adds(row)]
        return found.reshape(len(rows), len(self.splits) * width)


def counted(rows: Sequence[Row]) -> Counted:
    """What can be counted of rows of all runs, a split at a time, and the means of accuracy and F1 over the splits; nothing for rows of another
    kind. Splits beside rows of none are controls: described, not tested, and in no mean."""
    kind, splits = kind_of(rows), tuple(dict.fromkeys(map(split_of, rows)))
    blocks = _blocks(kind, all(p_yes(row) is not None for row in rows))
    width, measures, means = sum(block.width for block in blocks), list[Measure](), dict[str, list[Measure]]()
    for number, split in enumerate(splits):
        start = number * width
        for block in blocks:
            for column in block.columns:
                name = f"{split}/{column.name}" if split else column.name
                is_primary = column.is_primary and (not split or "" not in splits)
                measures.append(Measure(name, _at(column.statistic, start, start + block.width), column.better, is_primary, column.unit))
                means.setdefault(column.name, []).append(measures[-1])
            start += block.width
    if len(splits) > 1 and "" not in splits:
        measures += [Measure(f"mean/{name}", _mean([each.statistic for each in of_splits]), of_splits[0].better)
                     for name in ("accuracy", "f1") if (of_splits := means.get(name))]
    return Counted(tuple(measures), tuple(blocks), splits)


def _at(of: Callable[[np.ndarray], np.ndarray], start: int, stop: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sums: of(sums[..., start:stop])


def _mean(statistics: Sequence[Callable[[np.ndarray], np.ndarray]]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sums: cast(np.ndarray, np.mean([of(sums) for of in statistics], 0))


def _blocks(kind: Kind, has_logp: bool) -> list[Block]:
    if kind == "captions":
        return [CAPTION]
    if kind == "other":
        return []
    return [CORRECT, *([YES_NO] if kind == "yes_no" else []), *([CALIBRATED] if kind == "yes_no" and has_logp else [])]


def _ratio(top: int, bottom: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sums: sums[..., top] / sums[..., bottom]


# --- right or wrong


def _correct(row: Row) -> list[float]:
    counts = bool(row.get("counted", True))  # some scripts leave answers without a choice out of their accuracy
    return [float(counts and row["correct"]), float(counts)]


CORRECT = Block(_correct, 2, (Measure("accuracy", _ratio(0, 1), "more", is_primary=True),))


# --- yes or no


def _confusion(row: Row) -> list[float]:
    prediction, label = yes_no(row)
    said, true = prediction == "yes", label == "yes"
    return [float(said and true), float(said), float(true), float(said and not true), float(not true), 1.0]


def _f1(sums: np.ndarray) -> np.ndarray:
    """NaN without a single true positive, as in official scripts, which divide by zero there."""
    return np.where(sums[..., 0] > 0, 2 * sums[..., 0] / (sums[..., 1] + sums[..., 2]), np.nan)


YES_NO = Block(_confusion, 6, (
    Measure("precision", _ratio(0, 1), "more"), Measure("recall", _ratio(0, 2), "more"), Measure("f1", _f1, "more"),
    Measure("yes_ratio", _ratio(1, 5), None), Measure("false_yes", _ratio(3, 4), "less")))


def _calibration(row: Row) -> list[float]:
    """Squared error; whether the likelier word is right; 1; and P(yes) less whether yes is right, in the answer's bin of P(yes)."""
    p, true = cast(float, p_yes(row)), yes_no(row)[1] == "yes"
    found = [0.0] * (3 + BINS)
    found[:3] = (p - true) ** 2, float((p > 0.5) == true), 1.0
    found[3 + min(int(p * BINS), BINS - 1)] = p - true
    return found


CALIBRATED = Block(_calibration, 3 + BINS, (
    Measure("brier", _ratio(0, 2), "less"), Measure("logp_accuracy", _ratio(1, 2), "more"),
    Measure("ece", lambda sums: np.abs(sums[..., 3:]).sum(-1) / sums[..., 2], "less")))


# --- captions


def _caption(row: Row) -> list[float]:
    return [*(float(len(row[name])) for name in ("hallucinated", "generated", "recalled", "gt", "words")), float(row["chair_s"]), 1.0]


def _caption_f1(sums: np.ndarray) -> np.ndarray:
    """Of precision 1 - chair_i, over mentions, and recall, over objects."""
    precision, recall = 1 - sums[..., 0] / sums[..., 1], sums[..., 2] / sums[..., 3]
    return np.asarray(2 * precision * recall / (precision + recall))


CAPTION = Block(_caption, 7, (
    Measure("chair_s", _ratio(5, 6), "less", is_primary=True), Measure("chair_i", _ratio(0, 1), "less", is_primary=True),
    Measure("recall", _ratio(2, 3), "more", is_primary=True), Measure("f1", _caption_f1, "more", is_primary=True),
    Measure("length", _ratio(4, 6), None, unit="number")))

