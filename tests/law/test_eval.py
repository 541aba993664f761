"""An evaluation from its command line to its result, on scripted models: nothing here is trained."""
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pytest

from data.world import Scenes
from eval.__main__ import Options, evaluate, main, parse
from eval.chair import CHAIR
from eval.frame.benchmark import Benchmark, Item, Row
from eval.frame.find import benchmark_class, names
from eval.frame.result import Result, untimed
from eval.frame.runner import Answer
from eval.pope import POPE
from eval.pope import score as pope_score
from eval.skills import Skills
from mm.versions import revision
from tests.scripted import Scripted, items


def test_benchmarks_are_found_by_name_and_a_near_name_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"pope", "chair"} <= set(names())
    assert all(issubclass(benchmark_class(name), Benchmark) for name in names())
    with pytest.raises(ValueError, match="did you mean 'pope'"):
        benchmark_class("popo")
    assert main(["popo", "--model", "x"]) == 2
    assert "did you mean 'pope'" in capsys.readouterr().err


def test_an_unknown_option_is_one_line_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pope", "--model", "x", "--pope.sise", "3"]) == 2
    said = capsys.readouterr().err
    assert "did you mean --pope.size?" in said
    assert said.count("\n") == 1


def test_options_of_a_benchmark_stand_behind_its_name() -> None:
    given = ["--model", "m", "--pope.k", "3", "--images", "pics", "--chair.max_new_tokens", "16", "--parser", "strict"]
    options, found = parse(["pope", "chair"], given)
    pope, chair = found["pope"].settings(), found["chair"].settings()
    assert (options.parser, pope["k"], pope["images"], chair["images"], chair["max_new_tokens"]) == ("strict", 3, "pics", "pics", 16)


CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "eval").glob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_evaluation_config_parses(config: Path) -> None:
    named = [name for name in names() if f"\n{name}:" in "\n" + config.read_text()]
    _, found = parse(named, ["--config", str(config), "--model", "runs/demo"])
    assert list(found) == named
    assert named


class Toy(Benchmark):
    """Three rows in two files."""

    max_new_tokens = 4

    def items(self) -> list[Item]:
        return items(3)

    def judge(self, row: Row, parser: str) -> Row:
        yes = row["answer"] == "yes"
        return {"prediction": "yes" if yes else None, "matched": yes, "correct": yes}

    def aggregate(self, rows: Sequence[Row]) -> Any:
        return pope_score(rows)

    def export(self, rows: Sequence[Row]) -> dict[str, list[Row]]:
        return {"answers": [{"question": row["picture"], "answer": row["answer"]} for row in rows]}


def test_a_result_says_what_produced_it_and_repeats_to_the_byte(tmp_path: Path) -> None:
    options = Options(model=str(tmp_path), batch_size=2)
    results = []
    for batches in (2, 9, 9):
        model = Scripted(lambda item: "yes" if item.question == "a?" else "dunno", batches=batches)
        try:
            evaluate("toy", Toy(), model, options)  # type: ignore[arg-type]
            results.append(json.loads((tmp_path / "eval" / "toy.json").read_text()))
        except KeyboardInterrupt:
            assert not (tmp_path / "eval" / "toy.json").exists()
    for result in results:
        assert result["cost"]["seconds"] >= 0
    results = [untimed(result) for result in results]
    assert results[0] == results[1]
    assert results[0]["n"] == 12
    assert results[0]["unparsed"] == 6
    assert results[0]["scores"]["random/accuracy"] | {"low": 0, "high": 0} == {"value": 0.5, "low": 0, "high": 0, "n": 6}
    assert results[0]["scores"]["random/precision"]["value"] == 1.0
    assert {"lever", "config", "parser"} <= results[0].keys()
    assert results[0]["versions"]["torch"] == version("torch")
    assert results[0]["revision"] == revision() != ""
    assert {"decoding", "view", "limit", "batch_size"} <= results[0]["settings"].keys()
    assert all(score["low"] <= score["value"] <= score["high"] for score in results[0]["scores"].values() if score["value"] is not None)
    assert len((tmp_path / "eval" / "toy.items.jsonl").read_text().splitlines()) == 10  # the settings and nine distinct questions
    assert "unparsed 6" in Result.load(tmp_path / "eval" / "toy.json").table()


def test_limit_counts_pictures_and_keeps_all_their_questions(tmp_path: Path) -> None:
    model = Scripted(lambda item: "yes")
    assert evaluate("toy", Toy(), model, Options(model=str(tmp_path), limit=1)).n == 4  # type: ignore[arg-type]


class Prior:
    """Says yes to the shapes at home in stripes, whatever it sees."""

    identity: ClassVar[Row] = {}
    lever = None
    config: ClassVar[Row] = {}

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        return [Answer("yes" if item.question.split()[-2] in ("circle", "square", "triangle", "star") else "no") for item in items]


def test_a_model_that_answers_from_its_prior_falls_from_split_to_split(tmp_path: Path) -> None:
    scores = evaluate("pope", POPE(size=150), Prior(), Options(model=str(tmp_path))).scores
    assert scores["random/accuracy"]["value"] > scores["popular/accuracy"]["value"] + 0.05
    assert scores["random/recall"]["value"] == scores["popular/recall"]["value"] == scores["adversarial/recall"]["value"]  # the same positives
    answers = [json.loads(line) for line in (tmp_path / "eval" / "pope.random.answers.jsonl").read_text().splitlines()]
    asked = [json.loads(line) for line in (tmp_path / "eval" / "pope.random.questions.jsonl").read_text().splitlines()]
    assert [a["question"] for a in answers] == [q["text"] for q in asked]
    assert set(answers[0]) == {"question", "answer"}


class Truthful:
    """Knows the scene of every picture: captions it, says what is there."""

    identity: ClassVar[Row] = {}
    lever = None
    config: ClassVar[Row] = {}

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        found = []
        for item in items:
            _, split, seed, index = item.picture.split("-")
            scene = Scenes(split, 1000, int(seed)).scene(int(index))  # type: ignore[arg-type]
            found.append(Answer(scene.caption if "describe" in item.question else item.row["label"]))
        return found


def test_a_truthful_model_of_the_world_makes_no_error(tmp_path: Path) -> None:
    options = Options(model=str(tmp_path))
    chair = evaluate("chair", CHAIR(size=60), Truthful(), options).scores
    assert (chair["chair_s"]["value"], chair["chair_i"]["value"], chair["recall"]["value"]) == (0, 0, 1)
    skills = evaluate("skills", Skills(size=60), Truthful(), options)
    assert skills.unparsed == 0
    assert {s["value"] for name, s in skills.scores.items() if "accuracy" in name} == {1.0}
    assert all(0.3 < s["value"] < 0.7 for name, s in skills.scores.items() if "yes_ratio" in name and s["n"] > 50)
