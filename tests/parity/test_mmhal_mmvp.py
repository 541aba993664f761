"""MMHal-Bench and MMVP against the official scripts, and MMVP as lmms-eval reads it."""
from typing import Any

import numpy as np
import pytest

from eval import mmhal, mmvp
from eval.parsers.lmms_eval import choice_of_two
from tests.golden import load

MISC = load("evaluation", "misc_scorers")
PARSING = load("evaluation", "harness_parsing")


def test_mmhal_reads_reviews_as_the_script_does() -> None:
    golden = MISC.mmhal
    rows = [{"index": i, "image_id": str(i), "question_type": str(i % 8), **mmhal.verdict(review)} for i, review in enumerate(golden["reviews"])]
    assert [row["informativeness"] for row in rows] == golden["informativeness"]
    scored = mmhal.score(rows)
    values = {name: score.value for name, score in scored.scores.items()}
    assert round(values["rating"], 2) == golden["average"]
    assert round(values["hallucination_rate"], 2) == golden["hallucination_rate"]
    assert values["informativeness"] * 100 == pytest.approx(golden["mean_informativeness"], abs=1e-9)
    assert [round(values[f"rating/{kind}"], 2) for kind in range(8)] == golden["by_type"]
    unread = {"Rating:5", "Rating: 7", "no score", "Rating: 4 or Rating: 5"}
    assert (scored.n, scored.unparsed) == (96, sum(review in unread for review in golden["reviews"]))


@pytest.mark.parametrize(("review", "seen"), [
    ("Rating: 4", [4]), ("rating: 10", [1]), ("Rating:5", []), ("Rating: 7", []), ("Rating: 0 or rating: 6", [0, 6]), ("", []), ("Rating:  3", [])])
def test_what_counts_as_a_rating(review: str, seen: list[int]) -> None:
    assert mmhal.ratings(review) == seen


def test_mmvp_counts_pairs_as_the_grader_does() -> None:
    golden = MISC.mmvp_official
    rows = [{"number": i + 1, "answer": "x", "label": "A", "grade": reply} for i, reply in enumerate(golden["judge"])]
    scored = mmvp.score([{**row, **mmvp.verdict(row, "official")} for row in rows])
    assert scored.scores["pair_accuracy"].value == golden["pair_accuracy"]
    assert scored.unparsed == sum(reply.lower() not in ("yes", "no") for reply in golden["judge"])


@pytest.mark.parametrize("case", PARSING.mcq, ids=lambda case: repr(case["answer"]))
def test_the_letter_is_that_of_lmms_eval(case: dict[str, Any]) -> None:
    assert choice_of_two(case["answer"]) == case["mmvp"]


def test_mmvp_scores_letters_as_lmms_eval_does() -> None:
    golden = PARSING.lmms_eval_mmvp
    rows = [{"number": row["index"] + 1, "answer": row["pred"], "label": row["gt"]} for row in golden["rows"]]
    judged = [{**row, **mmvp.verdict(row, "lmms_eval")} for row in rows]
    assert [(row["choice"], row["correct"]) for row in judged] == [(row["pred_letter"], row["is_correct"]) for row in golden["rows"]]
    scores = mmvp.score(judged).scores
    assert np.isclose(scores["accuracy"].value, golden["accuracy"], rtol=0, atol=1e-12)
    assert np.isclose(scores["pair_accuracy"].value, golden["pair_accuracy"], rtol=0, atol=1e-12)
