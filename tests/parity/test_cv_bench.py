"""CV-Bench against lmms-eval, whose formula is that of the data card."""
from string import ascii_uppercase
from typing import Any

import pytest

from eval.cv_bench import official, score
from eval.parsers import chooser
from tests.golden import load

GOLDEN: Any = load("evaluation", "harness_parsing")


@pytest.mark.parametrize("case", GOLDEN.mcq, ids=lambda case: repr(case["answer"]))
def test_reads_a_choice_as_the_harness_does(case: dict[str, Any]) -> None:
    assert chooser("lmms_eval", "choice_first")(case["answer"], ascii_uppercase) == case["cv_bench"]
    assert chooser("lmms_eval", "choice_first")(case["answer"], "ABCD") in ("", case["cv_bench"])


def test_combined_accuracy_is_the_harness_s() -> None:
    rows = [{"source": entry["source"], "task": "Count", "clip": str(i),
             "correct": entry["is_correct"], "choice": "A", "matched": True, "counted": True}
            for i, entry in enumerate(GOLDEN.cv_bench["rows"])]
    scores = score(rows).scores
    assert scores["combined/accuracy"].value == GOLDEN.cv_bench["score"]
    assert scores["combined/accuracy"].low < GOLDEN.cv_bench["score"] < scores["combined/accuracy"].high
    assert scores["2D/accuracy"].value == (scores["ADE20K/accuracy"].value + scores["COCO/accuracy"].value) / 2


@pytest.mark.parametrize(("text", "letter"), [
    ("(C) six", "C"), ("c", "C"), ("The answer is (C).", "C"), ("Answer: B", "B"), ("the answer is: b", ""), ("Dog", "D"), ("six", ""), ("", ""),
    ("(E)", ""), ("I think the answer is A because B is not", "A")])
def test_cambrians_reader_takes_what_is_behind_the_answer(text: str, letter: str) -> None:
    assert official(text, "ABCD") == letter
