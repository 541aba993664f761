"""MMVP on a made-up copy in its official layout: pairs, a judge or letters, odd answers, and the official file."""
import json
from pathlib import Path
from typing import Any

import pytest

from eval.__main__ import Options, evaluate
from eval.mmvp import MMVP, load, score, verdict
from tests import judged_layouts
from tests.judging import Told
from tests.odd import ANSWERS
from tests.scripted import Scripted


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judged_layouts.mmvp(tmp_path_factory.mktemp("mmvp"))


def bench(copy: Path, **given: Any) -> MMVP:
    return MMVP(str(copy / "Questions.csv"), str(copy / "images"), **given)


def grader(prompt: str) -> str:
    truth, said = (next(line for line in prompt.splitlines() if line.startswith(head)).split(": ")[1] for head in ("The right", "They"))
    return "Yes" if truth == said else "no"


def test_only_who_is_right_about_both_is_right(copy: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: "(b)" if item.id == "4" else item.row["truth"])
    result = evaluate("mmvp", bench(copy, judge=Told(grader)), model, Options("m", out=str(tmp_path)))
    assert {name: (value["value"], value["n"]) for name, value in result.scores.items()} == {"pair_accuracy": (0.5, 2), "accuracy": (0.8, 5)}
    assert result.remarks == [
        "verdicts by told", "1 questions are without the other of their pair, and in no pair", "5 of the 300 questions were asked"]
    exported = [json.loads(line) for line in (tmp_path / "mmvp.answers.jsonl").read_text().splitlines()]
    assert exported[3] == {"question_id": 4, "prompt": "is there a star, or a ring ? (a) A star (b) A ring", "answer": "(a)", "response": "(b)"}


def test_letters_are_read_without_a_judge(copy: Path, tmp_path: Path) -> None:
    judge = Told(grader)
    model = Scripted(lambda item: item.row["label"])
    result = evaluate("mmvp", bench(copy, judge=judge, prompt="lmms_eval"), model, Options("m", out=str(tmp_path), parser="lmms_eval"))
    assert (result.scores["pair_accuracy"]["value"], judge.asked) == (1, [])
    assert bench(copy, prompt="lmms_eval").items()[0].question == (
        "<image>\nis there a star, or a ring ?\nA. A star\nB. A ring\nAnswer with the option's letter from the given choices directly.")


def test_four_labels_are_corrected_as_by_lmms_eval() -> None:
    rows = [{"number": number, "label": "A", "answer": "B"} for number in range(1, 301)]
    judged = [{**row, **verdict(row, "lmms_eval")} for row in rows]
    assert [row["number"] for row in judged if row["correct"]] == [99, 279]
    assert "the labels of questions 99, 279 are corrected" in score(judged).remarks[0]
    assert verdict({**rows[98], "grade": "no"}, "official")["correct"] is False


def test_without_a_judge_nothing_is_graded(copy: Path, tmp_path: Path) -> None:
    result = evaluate("mmvp", bench(copy), Scripted(lambda item: "(a)"), Options("m", out=str(tmp_path)))
    assert list(result.scores) == ["answered"]
    assert "no judge was asked" in result.remarks[0]


@pytest.mark.parametrize(("parser", "unparsed", "right"), [("official", 5, []), ("lmms_eval", 4, ["a" * 10_000])])
def test_odd_answers_are_counted(parser: str, unparsed: int, right: list[str]) -> None:
    """Judged by a judge that says what it was told. "aaaa" is an A to lmms-eval, as is a word that begins with one."""
    rows = [{"number": i + 1, "label": "A", "answer": answer, "grade": answer} for i, answer in enumerate(ANSWERS)]
    judged = [{**row, **verdict(row, parser)} for row in rows]
    scored = score(judged)
    assert (scored.n, scored.unparsed) == (5, unparsed)
    assert [row["answer"] for row in judged if row["correct"]] == right


@pytest.mark.parametrize(("reply", "right", "read"), [("yes", True, True), ("YES", True, True), ("no", False, True), ("yes.", False, False),
                                                     ("yes\n", False, False), ("", False, False)])
def test_the_whole_reply_must_be_the_word(reply: str, right: bool, read: bool) -> None:
    found = verdict({"number": 1, "label": "A", "answer": "(a)", "grade": reply}, "official")
    assert (found["correct"], found["matched"]) == (right, read)


def test_a_question_that_is_not_as_it_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("Index,Question,Options,Correct Answer\n1,what ?,(a) one (b) two,(a)\n2,what ?,one or two,(a)\n")
    with pytest.raises(ValueError, match="question 2: expected the columns"):
        load(tmp_path / "q.csv")
