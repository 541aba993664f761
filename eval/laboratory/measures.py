"""What is measured: shares, each a ratio of two sums over the judged rows of a benchmark."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eval.frame.benchmark import Row

BENCHMARKS = ("pope", "chair", "skills")


@dataclass(frozen=True)
class Measure:
    """name: "<benchmark>/<metric>", label: for readers. rows: those it is taken over. adds: what one adds to numerator and denominator. is_share:
    each row adds 0 or 1 of 1, so that McNemar's test applies."""

    name: str
    label: str
    rows: Callable[[Row], bool]
    adds: Callable[[Row], tuple[float, float]]
    larger_is_better: bool = True
    is_share: bool = True

    @property
    def benchmark(self) -> str:
        return self.name.partition("/")[0]


def of_split(split: str) -> Measure:
    return Measure(f"pope/{split}", f"POPE {split}", lambda row: row["split"] == split, lambda row: (float(row["correct"]), 1.0))


def of_kind(kind: str) -> Measure:
    return Measure(f"skills/{kind}", kind, lambda row: row["kind"] == kind, lambda row: (float(row["correct"]), 1.0))


def every(row: Row) -> bool:
    return True


# Existence, the first kind of the skills, asks what POPE asks; to count it twice would only make the family of tests larger.
MEASURES: Sequence[Measure] = (
    *map(of_split, ("random", "popular", "adversarial")),
    Measure("chair/chair_i", "CHAIR_i", every, lambda row: (len(row["hallucinated"]), len(row["generated"])), larger_is_better=False, is_share=False),
    Measure("chair/chair_s", "CHAIR_s", every, lambda row: (row["chair_s"], 1.0), larger_is_better=False),
    Measure("chair/recall", "caption recall", every, lambda row: (len(row["recalled"]), len(row["gt"])), is_share=False),
    *map(of_kind, ("attribute", "number", "pair", "relation", "systematic", "distractor", "productive")))
