"""HallusionBench on a made-up copy in its official layout: readers with and without a judge, odd answers, and the official files."""
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.__main__ import Options, evaluate
from eval.hallusion.rows import load, set_of
from eval.hallusion.score import score
from eval.hallusionbench import HallusionBench, mark, verdict
from tests import judged_layouts
from tests.judging import Told
from tests.odd import ANSWERS
from tests.scripted import Scripted


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judged_layouts.hallusionbench(tmp_path_factory.mktemp("hallusionbench"))


def bench(copy: Path, **given: Any) -> HallusionBench:
    return HallusionBench(str(copy / "HallusionBench.json"), str(copy / "images"), **given)


def options(out: Path, parser: str = "official") -> Options:
    return Options(model="m", out=str(out), parser=parser)  # type: ignore[arg-type]


def wise(prompt: str) -> str:
    """Knows that "yes" agrees with "There is a", and "no" with "There is no"."""
    if "two versions of a picture" in prompt:
        first, second = (line.partition(": ")[2] for line in prompt.splitlines() if "answer:" in line)
        return "Same" if first == second else "Different"
    said = next(line.partition(": ")[2] for line in prompt.splitlines() if line.startswith("The model's answer"))
    return "unclear" if said not in ("yes", "no") else "correct" if ("There is a" in prompt) == (said == "yes") else "incorrect"


def values(result: Any) -> dict[str, float]:
    return {name: score["value"] for name, score in result.scores.items()}


def test_a_judge_marks_answers_and_is_asked_about_consistency_where_the_cause_hinges_on_it(copy: Path, tmp_path: Path) -> None:
    judge = Told(wise)
    result = evaluate("hallusionbench", bench(copy, judge=judge), Scripted(lambda item: "yes"), options(tmp_path))
    found = values(result)
    assert (found["all/aAcc"], found["all/qAcc"], found["all/fAcc"], found["yes_bias/difference"], found["yes_bias/false_positives"]) == (
        0.5, 0, 0, 0.5, 1)
    # VD: one original misread, one edited picture answered like its original. VS: one thing made up without a picture, one answered like without.
    assert {cause: found[f"diagnosis/{cause}"] for cause in ("language", "vision", "mixed")} == {"language": 0.5, "vision": 0.25, "mixed": 0.25}
    assert (result.n, result.unparsed, result.settings["judge"]["name"]) == (8, 0, "told")
    assert result.remarks[0] == "verdicts by told"
    assert len([prompt for prompt in judge.asked if "two versions" in prompt]) == 1  # the same two answers: one prompt for both
    official = json.loads((tmp_path / "hallusionbench.judged.official.json").read_text())
    given = json.loads((copy / "HallusionBench.json").read_text())
    assert [{key: row[key] for key in given[0]} for row in official] == given
    assert [row["gpt4v_output_gpt_check"] for row in official] == ["1", "0", "0", "1"] * 2
    assert [row.get("same") for row in official] == [None, None, "1", None] * 2
    assert {row["model_prediction"] for row in official} == {"yes"}


def test_not_knowing_is_right_without_a_picture_only(copy: Path, tmp_path: Path) -> None:
    result = evaluate("hallusionbench", bench(copy, judge=Told(wise)), Scripted(lambda item: "I cannot know"), options(tmp_path))
    found = values(result)
    assert (found["VS/aAcc"], found["VD/aAcc"], found["VS/easy"]) == (0.5, 0, 1)
    assert (found["diagnosis/vision"], found["diagnosis_pairs/vision"]) == (1, 1)


def test_another_judge_reads_the_same_answers(copy: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: "yes")
    evaluate("hallusionbench", bench(copy), model, options(tmp_path))
    asked = len(model.asked)
    other = evaluate("hallusionbench", bench(copy, judge=Told(lambda prompt: "correct")), model, options(tmp_path))
    assert len(model.asked) == asked
    assert values(other)["all/aAcc"] == 1


def test_without_a_judge_nothing_is_marked_and_the_answers_are_exported(copy: Path, tmp_path: Path) -> None:
    result = evaluate("hallusionbench", bench(copy), Scripted(lambda item: "yes" * (item.id != "VD/ocr/0/0/0")), options(tmp_path))
    assert values(result).items() >= {"answered": 7 / 8, "logp_accuracy": 1 / 2}.items()
    assert (result.n, result.unparsed) == (8, 1)
    assert "no judge was asked" in result.remarks[0]
    assert "judge" not in result.settings
    assert len(json.loads((tmp_path / "hallusionbench.official.json").read_text())) == 8


@pytest.mark.parametrize(("parser", "n", "right"), [("lmms_eval", 6, 1.0), ("vlmevalkit", 6, 1.0), ("strict", 8, 0.0)])
def test_harnesses_leave_out_what_has_no_picture_and_say_so(parser: str, n: int, right: float, copy: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: "Yes, there is." if item.row["gt_answer"] == "1" else "No, there is none.")
    result = evaluate("hallusionbench", bench(copy, judge=Told(wise)), model, options(tmp_path, parser))
    assert (result.n, values(result)["all/aAcc"]) == (n, right)
    assert any("2 rows without a picture are left out" in remark for remark in result.remarks) == (parser != "strict")
    assert "judge" not in result.settings
    assert not (tmp_path / "hallusionbench.verdicts.jsonl").exists()  # nobody was asked
    assert not any(name.startswith("diagnosis") for name in result.scores)


def test_vlmevalkit_does_not_tell_vd_and_vs_apart_in_its_groups(copy: Path) -> None:
    rows = [{**row, "answer": "yes" if (row["gt_answer"] == "1") == (row["category"] == "VD") else "no"}
            for row in load(copy / "HallusionBench.json")]
    assert [score([{**row, **verdict(row, parser)} for row in rows]).scores["all/qAcc"].value for parser in ("vlmevalkit", "lmms_eval")] == [0, 0.5]


@pytest.mark.parametrize(("parser", "unparsed", "right"), [
    ("official", 0, 0), ("lmms_eval", 4, 1), ("vlmevalkit", 5, 0), ("strict", 5, 0)])
def test_odd_answers_are_counted_and_never_taken_for_right(parser: str, unparsed: int, right: int, copy: Path) -> None:
    row = next(row for row in load(copy / "HallusionBench.json") if (row["category"], row["gt_answer"]) == ("VD", "1"))
    rows = [{**row, "id": str(i), "answer": answer, "check_reply": wise(f"The model's answer: {answer}")} for i, answer in enumerate(ANSWERS)]
    found = [{**row, **verdict(row, parser)} for row in rows]
    assert score(found).unparsed == unparsed
    assert [row["answer"] for row in found if row["correct"]] == ["yes and no"] * right


@pytest.mark.parametrize(("reply", "check"), [
    ("correct", 1), ("This is Incorrect", 0), ("not correct", 1), ("unclear", 2), ("", 2), ("I cannot say", 2), ("Not incorrect: correct", 0)])
def test_a_judges_reply_is_read_as_the_script_does(reply: str, check: int) -> None:
    assert mark(reply) == check


def test_a_judge_that_rambles_is_counted(copy: Path, tmp_path: Path) -> None:
    result = evaluate("hallusionbench", bench(copy, judge=Told(lambda prompt: "let me think")), Scripted(lambda item: "yes"), options(tmp_path))
    assert (result.n, result.unparsed) == (8, 8)


def test_wrong_answers_whose_original_was_not_asked_have_no_cause(copy: Path) -> None:
    rows = [{**row, "answer": "yes", "check_reply": "incorrect"} for row in load(copy / "HallusionBench.json") if row["figure_id"] != "0"]
    scored = score([{**row, **verdict(row, "official")} for row in rows])
    assert "4 wrong answers are left out of the diagnosis" in " ".join(scored.remarks)
    assert scored.scores["diagnosis/language"].n == 0


def drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda row: row.pop(name)


@pytest.mark.parametrize(("spoil", "message"), [
    (drop("gt_answer"), "row 2: no gt_answer"), (lambda row: row.update(category="VX"), "category 'VX' is none of VD, VS"),
    (lambda row: row.update(filename=None), "only rows with visual_input 0 have none"),
    (lambda row: row.update(question_id="0"), "VD/ocr/0/0/0 occurs twice")], ids=["missing", "category", "filename", "twice"])
def test_a_row_that_is_not_as_it_should_be_is_named(spoil: Callable[[dict[str, Any]], object], message: str, copy: Path, tmp_path: Path) -> None:
    rows = json.loads((copy / "HallusionBench.json").read_text())
    spoil(rows[1])
    (tmp_path / "h.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "h.json")


def test_versions_of_a_picture_are_drawn_together(copy: Path) -> None:
    rows = load(copy / "HallusionBench.json")
    sets = {bench(copy).cluster(row) for row in rows}
    assert sets == {set_of(row) for row in rows}
    assert len(sets) < len({row["filename"] for row in rows})
