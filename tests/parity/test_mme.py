"""MME against its released scorer and against lmms-eval."""
from typing import Any

import pytest

from eval.mme import COGNITION, PERCEPTION, official, score
from tests.golden import load

GOLDEN: Any = load("evaluation", "mme")
HARNESS: Any = load("evaluation", "harness_parsing").lmms_eval_mme


@pytest.mark.parametrize(("answer", "label"), GOLDEN.parse, ids=[repr(answer) for answer, _ in GOLDEN.parse])
def test_reads_an_answer_as_the_scorer_does(answer: str, label: str) -> None:
    assert (official(answer) or "other") == label
    assert (official(answer + "\n") or "other") == label  # the scorer's lines end so


def test_points_and_totals_are_the_scorers() -> None:
    rows = []
    for task, lines in GOLDEN.rows.items():
        for i, (image, _, label, answer) in enumerate(lines):
            prediction = official(answer)
            rows.append({"task": task, "pair": f"{task}/{i // 2}", "picture": f"{task}/{image}", "prediction": prediction,
                         "correct": prediction == label.lower()})
    scored = score(rows)
    assert {task: scored.scores[f"{task}/score"].value for task in (*PERCEPTION, *COGNITION)} == GOLDEN.task_scores
    assert scored.scores["perception/score"].value == GOLDEN.perception_total
    assert scored.scores["cognition/score"].value == GOLDEN.cognition_total
    assert scored.scores["object/score"].value + scored.scores["attribute/score"].value == scored.scores["hallucination/score"].value
    assert scored.remarks == ()


def test_points_are_those_of_lmms_eval_too() -> None:
    rows = [{"task": entry["category"], "pair": entry["question_id"], "picture": entry["question_id"], "prediction": "yes",
             "correct": entry["score"] == 1}
            for entry in HARNESS["rows"]]
    scores = score(rows).scores
    assert sum(scores[f"{task}/score"].value for task in ("existence", "count", "color")) == HARNESS["total"]
