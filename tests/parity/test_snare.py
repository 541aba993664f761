"""SNARE's ranking against the official script, ties included."""
import numpy as np
import pytest

from eval.snare import hits, ranked
from tests import golden

SNARE = golden.load("evaluation", "misc_scorers").snare
ORDERS = [ranked(scores) for scores in SNARE["scores"]]


def targets(name: str) -> list[list[bool]]:
    if name == "multi":
        return [[value == 1 for value in row] for row in SNARE["multi_targets"]]
    return [[column == int(name.removeprefix("class")) for column in range(3)]] * len(ORDERS)


@pytest.mark.parametrize("name", SNARE["top_n"])
def test_rows_are_right_where_the_official_script_says_so(name: str) -> None:
    which, _, n = name.rpartition("_top")
    right = hits(ORDERS, targets(which), int(n))
    assert [np.mean(right), sum(right)] == SNARE["top_n"][name]


def test_each_class_is_best_as_often_as_for_the_official_script() -> None:
    assert [np.mean([order[0] == column for order in ORDERS]) for column in range(3)] == SNARE["argmax_share"]
    assert any(len(set(row)) < 3 for row in SNARE["scores"])  # ties, so that their order was tried
