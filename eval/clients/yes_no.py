"""Functions of exported yes/no tasks, which run inside lmms-eval, alone: this file is copied beside them and imports nothing of ours.

The first five metrics are those of lmms-eval's own POPE task (read and run at version 0.7.3), its peculiarities included: an answer is exactly "yes"
or "no" or it is wrong; recall leaves unread answers out; `pope_yes_ratio` is the share of yes among the TRUTHS, whatever the model says; what would
divide by zero is 0. The last two are ours: the share of yes among the answers, and how many answers are neither.
"""
from pathlib import Path
from typing import Any

from PIL import Image

Record = dict[str, str]  # prediction, truth

METRICS = ("pope_accuracy", "pope_precision", "pope_recall", "pope_f1_score", "pope_yes_ratio", "predicted_yes_ratio", "unparsed")


def doc_to_visual(doc: dict[str, Any]) -> list[Image.Image]:
    return [Image.open(Path(__file__).parent / name).convert("RGB") for name in doc["images"]]


def doc_to_text(doc: dict[str, Any]) -> str:
    return str(doc["question"])


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, Record]:
    record = {"id": doc["id"], "prediction": results[0].lower().strip(), "truth": doc["label"]}
    return dict.fromkeys(METRICS, record)


def accuracy(records: list[Record]) -> float:
    return _share(sum(each["prediction"] == each["truth"] for each in records), len(records))


def precision(records: list[Record]) -> float:
    hits = _count(records, "yes", "yes")
    return _share(hits, hits + _count(records, "yes", "no"))


def recall(records: list[Record]) -> float:
    hits = _count(records, "yes", "yes")
    return _share(hits, hits + _count(records, "no", "yes"))


def f1_score(records: list[Record]) -> float:
    p, r = precision(records), recall(records)
    return _share(2 * (p * r), p + r)


def yes_ratio_of_truth(records: list[Record]) -> float:
    return _share(sum(each["truth"] == "yes" for each in records), len(records))


def yes_ratio(records: list[Record]) -> float:
    return _share(sum(each["prediction"] == "yes" for each in records), len(records))


def unparsed(records: list[Record]) -> float:
    return sum(each["prediction"] not in ("yes", "no") for each in records)


def _count(records: list[Record], prediction: str, truth: str) -> int:
    return sum(each["prediction"] == prediction and each["truth"] == truth for each in records)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0
