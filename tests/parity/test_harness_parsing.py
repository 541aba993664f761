"""Yes/no readers against the harnesses they are named after."""
import json
from pathlib import Path
from typing import Any

import pytest

from eval.parsers import reader
from eval.parsers.lmms_eval import yes_no_mme

YES_NO: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "evaluation" / "harness_parsing.json").read_text())["yes_no"]


@pytest.mark.parametrize("case", YES_NO, ids=lambda case: repr(case["answer"]))
def test_reads_an_answer_as_the_harness_does(case: dict[str, Any]) -> None:
    whole = case["lmms_eval_pope"]
    assert reader("lmms_eval", "yes_no")(case["answer"]) == (whole if whole in ("yes", "no") else None)
    assert (yes_no_mme(case["answer"]) or "other") == case["lmms_eval_mme"]
    assert (reader("vlmevalkit", "yes_no")(case["answer"]) or "unknown") == case["vlmevalkit"].lower()


@pytest.mark.parametrize(("answer", "label"), [
    ("yes", "yes"), (" No.\n", "no"), ('"Yes"', "yes"), ("(no)", "no"), ("yes, there is", None), ("yes yes", None),
    ("", None), ("nope", None), ("y", None)])
def test_the_strict_reader_takes_one_word_only(answer: str, label: str | None) -> None:
    assert reader("strict", "yes_no")(answer) == label


def test_a_reader_without_the_rule_says_so() -> None:
    with pytest.raises(ValueError, match="no rule for colour answers"):
        reader("strict", "colour")
