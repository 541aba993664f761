"""Comparisons of benchmarks whose metrics are no plain accuracy a part: controls, several answers a case, another positive class."""
import random
from pathlib import Path

from eval.amber import AMBER
from eval.compare.comparing import Comparison, against
from eval.compare.runs import read_runs
from eval.frame.benchmark import Benchmark, Item
from eval.snare import SNARE
from eval.truemicl import TrueMICL
from tests.comparisons import filed


def answer(item: Item, rate: float) -> str:
    row, wrong = item.row, random.Random(f"{rate} {item.id}").random() < rate
    if "known" in row:
        return next(each for each in row["known"] if (each != row["label"]) == wrong)
    truth = ("yes" if row["labels"][row["column"]] else "no") if "column" in row else row["truth"]
    return {"yes": "no", "no": "yes"}[truth] if wrong else truth


def compared(folder: Path, name: str, benchmark: Benchmark) -> dict[str, Comparison]:
    for rate in (0.1, 0.5):
        filed(folder / str(rate), name, name, benchmark, lambda item, rate=rate: answer(item, rate))  # type: ignore[misc]
    first, second = read_runs([str(folder / "0.1"), str(folder / "0.5")])[0]
    return {each.metric: each for each in against(name, first.results[name], second.results[name], "second", 200).comparisons}


def test_answers_under_controls_are_no_part_of_what_is_tested(tmp_path: Path) -> None:
    found = compared(tmp_path, "truemicl", TrueMICL(size=8, max_new_tokens=4))
    assert [name for name, each in found.items() if each.is_primary] == ["accuracy"]
    assert found["accuracy"].n == found["blank/accuracy"].n == 8
    assert not any(name.startswith("mean/") for name in found)


def test_where_a_case_has_several_answers_its_accuracy_is_tested(tmp_path: Path) -> None:
    found = compared(tmp_path, "snare", SNARE(size=6, protocol="polling"))
    primary = {name for name, each in found.items() if each.is_primary}
    assert primary == {f"{task}/accuracy" for task in (
        "semantic_structure", "negation_logic", "attribute_ownership", "relationship_composition", "spatial_relations")}


def test_no_mean_is_told_of_metrics_that_the_benchmark_defines_otherwise(tmp_path: Path) -> None:
    found = compared(tmp_path, "amber", AMBER(size=8, evaluation="d"))
    assert "discriminative/f1" in found
    assert "mean/f1" not in found
    assert found["state/accuracy"].is_primary
    assert "mean/accuracy" in found
