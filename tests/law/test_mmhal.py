"""MMHal-Bench on a made-up copy in its official layout: ratings of a judge, odd answers, and the official files."""
import json
from pathlib import Path
from typing import Any

import pytest

from eval.__main__ import Options, evaluate
from eval.mmhal import FIELDS, MMHal, load, score, verdict
from tests import judged_layouts
from tests.judging import Told
from tests.odd import ANSWERS
from tests.scripted import Scripted


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judged_layouts.mmhal(tmp_path_factory.mktemp("mmhal"))


def bench(copy: Path, **given: Any) -> MMHal:
    return MMHal(str(copy / "response_template.json"), str(copy / "images"), **given)


def test_a_judge_rates_and_types_go_by_their_place(copy: Path, tmp_path: Path) -> None:
    judge = Told(lambda prompt: "Made up.\nRating: 1" if "A star, 8" in prompt else "Fine.\nRating: 5")
    result = evaluate("mmhal", bench(copy, judge=judge), Scripted(lambda item: f"a star {item.id}"), Options("m", out=str(tmp_path)))
    found = {name: value["value"] for name, value in result.scores.items()}
    assert found["rating"] == pytest.approx((8 * 5 + 1) / 9)
    assert found["hallucination_rate"] == pytest.approx(1 / 9)
    assert found["informativeness"] == pytest.approx((8 * 2 + 1) / 27)
    assert found["rating/attribute"] == 3  # places 0 and 8
    assert found["rating/other"] == 5
    assert result.remarks == ["verdicts by told", "9 of the 96 questions were asked"]
    assert "Objects in the picture: Star, Ring\n" in judge.asked[0]
    answers = json.loads((tmp_path / "mmhal.official.json").read_text())
    given = json.loads((copy / "response_template.json").read_text())
    assert answers == [{**row, "model_answer": f"a star {i}"} for i, row in enumerate(given)]
    assert list(answers[0]) == [*FIELDS, "model_answer"]
    reviews = json.loads((tmp_path / "mmhal.reviews.official.json").read_text())
    assert reviews[8]["choices"][0]["message"]["content"] == "Made up.\nRating: 1"


def test_without_a_judge_nothing_is_rated(copy: Path, tmp_path: Path) -> None:
    result = evaluate("mmhal", bench(copy), Scripted(lambda item: "x" * (item.id != "0")), Options("m", out=str(tmp_path)))
    assert {name: value["value"] for name, value in result.scores.items()} == {"answered": 8 / 9}
    assert (result.n, result.unparsed) == (9, 1)
    assert not (tmp_path / "mmhal.reviews.official.json").exists()


def test_odd_reviews_count_as_nothing_and_are_counted(copy: Path) -> None:
    rows = [{**load(copy / "response_template.json")[0], "answer": "", **verdict(review)} for review in (*ANSWERS, "Rating: 4")]
    scored = score(rows)
    assert (scored.n, scored.unparsed, scored.scores["rating"].value) == (6, 5, pytest.approx(4 / 6))
    assert "5 reviews have no rating or several" in scored.remarks[0]


def test_odd_answers_reach_the_judge_as_they_are(copy: Path, tmp_path: Path) -> None:
    judge = Told(lambda prompt: "Rating: 0")
    evaluate("mmhal", bench(copy, judge=judge), Scripted(lambda item: ANSWERS[int(item.id) % 5]), Options("m", out=str(tmp_path)))
    assert all(f"The model's answer: {answer}\n" in prompt for answer, prompt in zip(ANSWERS, judge.asked, strict=False))


def test_pictures_are_found_by_their_name_or_their_id(copy: Path) -> None:
    shades = [int(item.media()[0].frames[0, 0, 0, 0]) for item in bench(copy).items()]
    assert shades == pytest.approx([20 * i for i in range(9)], abs=2)


def test_a_prompt_of_your_own(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "official.txt").write_text("### {content} | {question} | {answer} | {truth}")
    judge = Told(lambda prompt: "Rating: 6")
    result = evaluate("mmhal", bench(copy, judge=judge, rating_prompt=str(tmp_path / "official.txt")), Scripted(lambda item: "a"),
                      Options("m", out=str(tmp_path)))
    assert judge.asked[1] == "### Star, Ring | what do you see ? | a | A star, 1."
    assert result.settings["judge_prompts"] == {"rating": "### {content} | {question} | {answer} | {truth}"}
    assert "judge_prompts" not in json.loads((tmp_path / "mmhal.items.jsonl").read_text().splitlines()[0])["settings"]


def test_a_row_that_lacks_something_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps([{"question": "q"}]))
    with pytest.raises(ValueError, match="row 1: no question_type and no question_topic"):
        load(tmp_path / "t.json")
