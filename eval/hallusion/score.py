"""Counts of HallusionBench as its script makes them, and metrics with intervals. Pictures of one set are no independent ones: sets are drawn."""
import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from eval.frame.benchmark import Row, Scored
from eval.frame.calibration import calibration
from eval.frame.choices import grouped, share
from eval.frame.intervals import Score, clustered
from eval.hallusion.causes import CAUSES, alone, diagnosed, joined, originals_of
from eval.hallusion.rows import is_pictureless, pair_of, set_of

QUESTIONS = 1129


def question_counts(rows: Sequence[Row]) -> Row:
    """total, correct, wrong, and causes by the answers alone."""
    correct = sum(row["correct"] for row in rows)
    return {"total": len(rows), "correct": correct, "wrong": len(rows) - correct, **_causes([alone(row) for row in rows])}


def pair_counts(rows: Sequence[Row]) -> Row:
    """Question pairs: total, correct (all answers right), wrong, `answers` in them; causes of pairs, and of `answers`, by comparison."""
    found = [{**row, "cause": cause} for row, cause in zip(rows, diagnosed(rows), strict=True)]
    pairs = list(grouped(found, "pair").values())
    return {**_all_right(pairs), "answers": len(rows), **_causes([joined([row["cause"] for row in pair]) for pair in pairs]),
            "by_answer": _causes([row["cause"] for row in found])}


def plain_pair_counts(rows: Sequence[Row]) -> Row:
    """Question pairs among some of the rows, without causes."""
    return {**_all_right(list(grouped(rows, "pair").values())), "answers": len(rows)}


def figure_counts(rows: Sequence[Row]) -> Row:
    """Pictures: all answers about them right, none (wrong), or some (inconsistent); score: mean share of right answers, NaN without pictures."""
    figures = [[row["correct"] for row in own] for own in grouped(pictured(rows), "figure").values()]
    wrong, right = sum(not any(own) for own in figures), sum(map(all, figures))
    total = sum(sum(own) / len(own) for own in figures)  # in order, as the script adds
    return {"total": len(figures), "correct": right, "wrong": wrong, "inconsistent": len(figures) - right - wrong,
            "score": total / len(figures) if figures else math.nan}


def pictured(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not is_pictureless(row)]


def easy(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["visual_input"] != "2"]


def hard(rows: Sequence[Row]) -> list[Row]:
    """About edited pictures."""
    return [row for row in rows if row["visual_input"] == "2"]


def _all_right(groups: Sequence[Sequence[Row]]) -> Row:
    correct = sum(all(row["correct"] for row in own) for own in groups)
    return {"total": len(groups), "correct": correct, "wrong": len(groups) - correct}


def _causes(found: Sequence[str | None]) -> Row:
    counts = Counter(found)
    return {cause: counts[cause] for cause in CAUSES}


def score(rows: Sequence[Row], judge: str | None = None) -> Scored:
    """Metrics of judged rows; how many were answered at all where no judge has seen them.

    aAcc, qAcc, fAcc: share of right answers, and of question pairs and pictures with right answers only; easy, hard: of pairs, among answers about
    original or no pictures, and about edited ones. For all, VD and VS. auc, ece, brier and logp_accuracy where log-probabilities are known.
    """
    if any("correct" not in row for row in rows):
        remark = ("no judge was asked, so nothing is marked: give --hallusionbench.judge, or --parser lmms_eval, vlmevalkit or strict, which ask "
                  "none; the official script runs on the .official.json file")
        return Scored({"answered": share([row["matched"] for row in rows], [set_of(row) for row in rows]), **_sure(rows)}, len(rows),
                      sum(not row["matched"] for row in rows), (remark,))
    counted = [row for row in rows if row["counted"]]
    scores: dict[str, Score] = {}
    for name in ("all", "VD", "VS"):
        part = [row for row in counted if name in ("all", row["category"])]
        if part:
            scores |= {f"{name}/{metric}": value for metric, value in _accuracies(part).items()}
    scores |= {**_consistency(counted), **_bias(counted), **_sure(counted)}
    marked = all(row.get("check") is not None for row in counted)
    if marked:
        scores |= _diagnosis(counted)
    remarks = [f"verdicts by {judge}"] * (marked and judge is not None)
    remarks += [f"{len(rows) - len(counted)} rows without a picture are left out, as by the harness of this parser: n {len(counted)}, "
                f"where all rows are {len(rows)}"] * (len(counted) < len(rows))
    remarks += [f"{len(rows)} of the {QUESTIONS} questions were asked"] * (len(rows) != QUESTIONS)
    lost = sum(not row["correct"] and pair_of(row) not in originals_of(counted) for row in counted) if marked else 0
    remarks += [f"{lost} wrong answers are left out of the diagnosis: nothing was asked about their originals"] * bool(lost)
    remarks += [f"{name} is undefined on these answers" for name, value in scores.items() if math.isnan(value.value)]
    return Scored(scores, len(counted), sum(not row["matched"] for row in counted), tuple(remarks))


def _accuracies(rows: Sequence[Row]) -> dict[str, Score]:
    return {"aAcc": share([row["correct"] for row in rows], [set_of(row) for row in rows]), "qAcc": _shared(rows, "pair", all),
            "fAcc": _shared(pictured(rows), "figure", all), "easy": _shared(easy(rows), "pair", all), "hard": _shared(hard(rows), "pair", all)}


def _shared(rows: Sequence[Row], key: str, holds: Callable[[list[bool]], bool]) -> Score:
    """Share of groups whose verdicts `holds`."""
    groups = grouped(rows, key)
    return share([holds([row["correct"] for row in own]) for own in groups.values()], [set_of(own[0]) for own in groups.values()])


def _consistency(rows: Sequence[Row]) -> dict[str, Score]:
    figures = grouped(pictured(rows), "figure").values()
    counts = np.array([[np.mean([row["correct"] for row in own]), 1] for own in figures], dtype=np.float64)
    mean = clustered([set_of(own[0]) for own in figures], counts, lambda s: s[..., 0] / s[..., 1], len(figures))
    return {"figures/inconsistent": _shared(pictured(rows), "figure", lambda own: any(own) and not all(own)),
            "figures/wrong": _shared(pictured(rows), "figure", lambda own: not any(own)), "figures/score": mean}


def _bias(rows: Sequence[Row]) -> dict[str, Score]:
    """How much more often yes is said than true, and the share of wrong answers that are a wrong yes."""
    counts = np.array([[row["yes"] - (row["gt_answer"] == "1"), 1] for row in rows], dtype=np.float64)
    wrong = [row for row in rows if not row["correct"]]
    return {"yes_bias/difference": clustered([set_of(row) for row in rows], counts, lambda s: s[..., 0] / s[..., 1], len(rows)),
            "yes_bias/false_positives": share([row["gt_answer"] == "0" for row in wrong], [set_of(row) for row in wrong])}


def _sure(rows: Sequence[Row]) -> dict[str, Score]:
    """Of P(yes), where log-probabilities are known: not official, and needs no judge."""
    return calibration([row.get("logp") for row in rows], [row["gt_answer"] == "1" for row in rows], [set_of(row) for row in rows])


def _diagnosis(rows: Sequence[Row]) -> dict[str, Score]:
    """Causes of wrong answers by comparison, of wrong pairs, and of wrong answers by themselves, as shares. The first are those of the paper's table
    (from memory: its script was not run on the paper's answers)."""
    found = [{**row, "cause": cause} for row, cause in zip(rows, diagnosed(rows), strict=True)]
    pairs = [(joined([row["cause"] for row in own]), set_of(own[0])) for own in grouped(found, "pair").values()]
    kinds = {"diagnosis": [(row["cause"], set_of(row)) for row in found], "diagnosis_pairs": pairs,
             "diagnosis_alone": [(alone(row), set_of(row)) for row in rows]}
    scores: dict[str, Score] = {}
    for kind, told in kinds.items():
        known = [(cause, place) for cause, place in told if cause is not None]
        scores |= {f"{kind}/{cause}": share([each == cause for each, _ in known], [place for _, place in known]) for cause in CAUSES}
    return scores
