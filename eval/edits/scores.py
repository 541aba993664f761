"""Means of rows with intervals, and the result file."""
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eval.frame.benchmark import Row
from eval.frame.intervals import Score, clustered
from eval.frame.result import write
from mm.versions import revision, versions

Scores = dict[str, Score]


def mean(rows: Sequence[Row], metric: str, cluster: str = "id") -> Score:
    """Of the rows in which the metric is a finite number; the bootstrap draws pictures."""
    there = [row for row in rows if finite(row.get(metric))]
    counts = np.array([[float(row[metric]), 1.0] for row in there])
    return clustered([row[cluster] for row in there], counts, lambda s: s[..., 0] / s[..., 1], len(there))


def finite(value: object) -> bool:
    return isinstance(value, bool | int | float) and math.isfinite(value)


def plain(row: Row) -> Row:
    """NaN becomes None, and what is unbounded the word "inf", which JSON can hold."""
    odd = {key: None if math.isnan(value) else "inf" for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    return {**row, **odd}


def unbounded(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """A remark on each metric that was unbounded somewhere, as PSNR of equal pictures is."""
    counts = {metric: sum(row.get(metric) == "inf" for row in rows) for metric in metrics}
    return [f"{metric} is unbounded for {count} of {len(rows)} edits (equal pixels), which its mean leaves out" for metric, count in counts.items()
            if count]


@dataclass(frozen=True)
class EditResult:
    """scores: metric -> {value, low, high, n}, value None where undefined. n: edits that were judged. failed: id -> why. recipe: what was done.
    config: model and encoders. cost: {"seconds"}, the only field in which two runs of one command differ."""

    benchmark: str
    scores: dict[str, Row]
    n: int
    failed: dict[str, str]
    remarks: list[str]
    settings: Row
    recipe: Row
    config: Row
    versions: dict[str, str]
    revision: str
    cost: Row

    @staticmethod
    def of(benchmark: str, scores: Scores, rows: Sequence[Row], remarks: Sequence[str], settings: Row, recipe: Row, config: Row,
           seconds: float) -> "EditResult":
        failed = {row["id"]: row["failed"] for row in rows if "failed" in row}
        return EditResult(
            benchmark, {name: {key: value if finite(value) else None for key, value in asdict(score).items()} for name, score in scores.items()},
            len(rows) - len(failed), failed, list(remarks), settings, recipe, config, dict(versions()), revision(), {"seconds": round(seconds, 3)})

    def save(self, path: Path) -> None:
        write(path, json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n")

