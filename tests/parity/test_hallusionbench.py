"""HallusionBench against the official script, from the judge's replies to every count."""
from typing import Any

import pytest

from eval.frame.benchmark import Row
from eval.hallusion.score import easy, figure_counts, hard, pair_counts, plain_pair_counts, question_counts, score
from eval.hallusionbench import verdict
from tests.golden import load

GOLDEN = load("evaluation", "hallusionbench")
MARK = {"0": "This is INCORRECT.", "1": "Correct", "2": "unclear"}
SAME = {"0": "different", "1": "The same."}
LEGEND = {"LH": "language", "VI": "vision", "Mix": "mixed"}


def marked() -> list[Row]:
    """The recorded rows, read from what a judge would have said."""
    rows = []
    for number, row in enumerate(GOLDEN.rows):
        told = {**row, "id": str(number), "answer": "", "check_reply": MARK[row["chk"]], "same_reply": SAME[row["same"]]}
        rows.append({**told, **verdict(told, "official")})
    return rows


def part(name: str) -> list[Row]:
    return [row for row in marked() if name in ("all", row["category"])]


def test_rows_are_right_where_the_script_says_so() -> None:
    assert [row["correct"] for row in marked()] == [bool(correct) for correct in GOLDEN.correct]
    assert all(row["matched"] for row in marked())


@pytest.mark.parametrize("name", ["all", "VD", "VS"])
def test_every_count_is_that_of_the_script(name: str) -> None:
    rows, golden = part(name), GOLDEN.out[name]
    questions, pairs = question_counts(rows), pair_counts(rows)
    assert questions == {**only(golden["question"], "total", "correct", "wrong"), **causes(golden["question"])}
    assert pairs == {**only(golden["pair"], "total", "correct", "wrong"), "answers": golden["pair"]["total_q"], **causes(golden["pair"]),
                     "by_answer": causes(golden["pair"], "_cg")}
    assert figure_counts(rows) == only(golden["fig"], "total", "correct", "wrong", "inconsistent", "score")
    for kind, among in (("easy", easy(rows)), ("hard", hard(rows))):
        assert plain_pair_counts(among) == {**only(golden[kind], "total", "correct", "wrong"), "answers": golden[kind]["total_q"]}


def test_the_metrics_are_the_counts_and_the_bias_is_that_of_the_script() -> None:
    scores = {name: score.value for name, score in score(marked()).scores.items()}
    for name in ("all", "VD", "VS"):
        golden = GOLDEN.out[name]
        for metric, kind in (("aAcc", "question"), ("qAcc", "pair"), ("fAcc", "fig"), ("easy", "easy"), ("hard", "hard")):
            assert scores[f"{name}/{metric}"] == golden[kind]["correct"] / golden[kind]["total"]
    golden = GOLDEN.out["all"]
    assert scores["yes_bias/difference"] == pytest.approx(GOLDEN.out["yes_ratio"]["diff"], abs=1e-12)
    assert scores["yes_bias/false_positives"] == GOLDEN.out["yes_ratio"]["fp"]
    assert scores["figures/score"] == pytest.approx(golden["fig"]["score"], abs=1e-12)
    for metric in ("wrong", "inconsistent"):
        assert scores[f"figures/{metric}"] == golden["fig"][metric] / golden["fig"]["total"]
    for kind, counts, among in (("diagnosis", causes(golden["pair"], "_cg"), golden["question"]["wrong"]),
                                ("diagnosis_pairs", causes(golden["pair"]), golden["pair"]["wrong"]),
                                ("diagnosis_alone", causes(golden["question"]), golden["question"]["wrong"])):
        assert {cause: scores[f"{kind}/{cause}"] for cause in counts} == {cause: count / among for cause, count in counts.items()}


def only(counts: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: counts[name] for name in names}


def causes(counts: dict[str, int], ending: str = "") -> dict[str, int]:
    return {ours: counts[theirs + ending] for theirs, ours in LEGEND.items()}
