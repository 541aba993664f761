"""Laws of the evaluation frame, on scripted models: nothing here is trained."""
import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from data.world import Scenes
from eval.__main__ import Options, evaluate, main, parse
from eval.chair import CHAIR, caption_row, score
from eval.frame.benchmark import Benchmark, Item, Row
from eval.frame.find import benchmark_class, names
from eval.frame.intervals import Score, clustered, proportion
from eval.frame.paired import aligned, difference, mcnemar
from eval.frame.result import Result
from eval.frame.runner import Answer, Mismatch, run
from eval.pope import POPE
from eval.pope import score as pope_score
from eval.skills import Skills
from eval.text.objects import ObjectWords, singular_words
from eval.text.synonyms import Synonyms
from eval.text.wordnet import lemmas
from eval.text.words import words
from mm.sample import Media
from mm.versions import revision


@dataclass
class Scripted:
    """A model that answers by rule and may be killed after some batches."""

    rule: Any
    batches: int = 10**9
    asked: list[str] = field(default_factory=list)
    identity: dict[str, str] = field(default_factory=lambda: {"name": "scripted"})
    lever: None = None
    config: dict[str, str] = field(default_factory=dict)

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        if not self.batches:
            raise KeyboardInterrupt
        self.batches -= 1
        self.asked += [item.id for item in items]
        return [Answer(self.rule(item), {"yes": -0.1, "no": -len(items) / 7} if item.candidates else None) for item in items]


def picture() -> tuple[Media, ...]:
    return (Media(np.full((1, 8, 8, 3), 9, np.uint8)),)


def items(pictures: int = 7) -> list[Item]:
    """Two splits that share their first question."""
    return [Item(f"{split}/{i}/{text}", f"p{i}", picture, text, {"split": split, "image": f"p{i}", "label": "yes"}, ("yes", "no"))
            for split, texts in (("random", ("a?", "b?")), ("popular", ("a?", "c?"))) for i in range(pictures) for text in texts]


def test_a_question_that_splits_share_is_asked_once(tmp_path: Path) -> None:
    model = Scripted(lambda item: item.question)
    rows = run(items(), model, tmp_path / "a.jsonl", {}, 8, batch_size=2)
    assert len(model.asked) == 21
    assert [row["answer"] for row in rows] == [item.question for item in items()]


@pytest.mark.parametrize("torn", ["", '{"picture": "p4", "ans'])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, torn: str) -> None:
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    wanted = run(items(), Scripted(lambda item: item.id), whole, {"prompt": ""}, 8, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        run(items(), Scripted(lambda item: item.id, batches=2), broken, {"prompt": ""}, 8, batch_size=2)
    with broken.open("a") as file:
        file.write(torn)
    rest = Scripted(lambda item: item.id)
    assert run(items(), rest, broken, {"prompt": ""}, 8, batch_size=2) == wanted
    assert len(rest.asked) == 9
    assert broken.read_bytes() == whole.read_bytes()


def test_a_kill_at_any_byte_is_resumed(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    wanted = run(items(3), Scripted(lambda item: item.id), whole, {}, 8, batch_size=2)
    content = whole.read_bytes()
    for cut in range(0, len(content), 17):
        part = tmp_path / "part.jsonl"
        part.write_bytes(content[:cut])
        assert run(items(3), Scripted(lambda item: item.id), part, {}, 8, batch_size=2) == wanted
        assert part.read_bytes() == content


def test_answers_of_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    run(items(), Scripted(lambda item: "yes"), tmp_path / "a.jsonl", {"prompt": "", "size": 5}, 8)
    with pytest.raises(Mismatch, match="size was 5 and is 6"):
        run(items(), Scripted(lambda item: "yes"), tmp_path / "a.jsonl", {"prompt": "", "size": 6}, 8)
    with pytest.raises(Mismatch, match="no answer to item"):
        run(items()[::-1], Scripted(lambda item: "yes"), tmp_path / "a.jsonl", {"prompt": "", "size": 5}, 8)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_a_liar_of_known_rate_gets_exactly_that_chair(p: float) -> None:
    shapes = ["star", "ring", "moon", "bar", "heart", "cross", "arrow", "circle"]
    find = ObjectWords(Synonyms([[shape] for shape in shapes]), words, {})
    rows, rng = [], random.Random(0)
    for image in range(50):
        truth = rng.sample(shapes, 4)
        absent = [shape for shape in shapes if shape not in truth]
        said = [rng.choice(absent) if i < 4 * p else truth[i] for i in range(4)]
        rows.append(caption_row(image, find(f"there is a {' , a '.join(said)} ."), set(truth)))
    scores = score(rows).scores
    assert scores["chair_i"].value == p
    assert scores["chair_s"].value == (p > 0)
    assert scores["recall"].value == 1 - p


def test_true_captions_hallucinate_nothing_and_recall_all() -> None:
    find = ObjectWords(Synonyms([["star", "asterisk"], ["ring", "hoop"]]), singular_words, {})
    scores = score([caption_row(i, find("there is a red star , a blue ring , a green star ."), {"star", "ring"}) for i in range(9)]).scores
    assert (scores["chair_i"].value, scores["chair_s"].value, scores["recall"].value) == (0, 0, 1)


def test_captions_without_objects_give_no_number_instead_of_an_error() -> None:
    find = ObjectWords(Synonyms([["star"]]), singular_words, {})
    scored = score([caption_row(0, find(""), {"star"})])
    assert math.isnan(scored.scores["chair_i"].value)
    assert scored.unparsed == 1
    assert scored.remarks
    assert math.isnan(score([]).scores["chair_s"].value)


def test_wilson_stays_in_bounds_and_holds_the_value() -> None:
    for hits, total in ((0, 5), (5, 5), (3, 7), (0, 1)):
        s = proportion(hits, total)
        assert 0 <= s.low <= s.value <= s.high <= 1
        assert s.high > s.low
    assert proportion(50, 100).low == pytest.approx(0.40383, abs=1e-5)


def test_the_bootstrap_draws_pictures_and_is_reproducible() -> None:
    hits = np.array([1.0] * 50 + [0.0] * 50)
    counts = np.stack([hits, np.ones(100)], 1)

    def share(s: np.ndarray) -> np.ndarray:
        return s[..., 0] / s[..., 1]

    alone, together = clustered(range(100), counts, share, 100), clustered([i // 10 for i in range(100)], counts, share, 100)
    assert clustered(range(100), counts, share, 100) == alone
    assert together.high - together.low > 2 * (alone.high - alone.low)  # ten questions about a picture are no ten pictures


def test_garbage_is_counted_with_every_parser(tmp_path: Path) -> None:
    rows = [{"split": "random", "image": str(i), "label": label, "answer": answer, "question_id": i, "text": "?"}
            for i, (label, answer) in enumerate([("yes", "yes"), ("no", "no"), ("yes", "bananas"), ("no", "")])]
    for parser, accuracy in (("official", 0.75), ("lmms_eval", 0.5), ("vlmevalkit", 0.5), ("strict", 0.5)):
        scored = POPE().aggregate([row | POPE().judge(row, parser) for row in rows])
        assert scored.unparsed == 2
        assert scored.scores["random/accuracy"].value == accuracy
    assert not pope_score([]).scores


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


def test_options_of_a_benchmark_stand_behind_its_name(tmp_path: Path) -> None:
    given = ["--model", "m", "--pope.k", "3", "--images", "pics", "--chair.max_new_tokens", "16", "--parser", "strict"]
    options, found = parse(["pope", "chair"], given)
    pope, chair = found["pope"].settings(), found["chair"].settings()
    assert (options.parser, pope["k"], pope["images"], chair["images"], chair["max_new_tokens"]) == ("strict", 3, "pics", "pics", 16)


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
        assert result.pop("seconds") >= 0
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


def test_the_blind_model_sees_nothing(tmp_path: Path) -> None:
    def brightness(item: Item) -> str:
        return str(item.media()[0].frames.max())

    assert {row["answer"] for row in run(items(), Scripted(brightness), tmp_path / "full.jsonl", {}, 4)} == {"9"}
    from eval.frame.views import blind, context

    assert {row["answer"] for row in run([blind(i) for i in items()], Scripted(brightness), tmp_path / "blind.jsonl", {}, 4)} == {"0"}
    with pytest.raises(ValueError, match="procedural world only"):
        context(items()[0])


def test_paired_runs_are_compared_on_the_questions_on_which_they_differ() -> None:
    assert mcnemar([True] * 9, [True] * 9) == 1.0
    assert mcnemar([True] * 10 + [False] * 10, [True] * 10 + [True] * 10) == pytest.approx(2 / 2**10)
    right = np.array([[1.0, 1.0]] * 30 + [[0.0, 1.0]] * 30)
    score_of = difference(range(60), right, np.ones((60, 2)), lambda s: s[..., 0] / s[..., 1])
    assert score_of.value == 0.5
    assert 0.3 < score_of.low < 0.5 < score_of.high < 0.7
    assert difference(range(60), right, right, lambda s: s[..., 0] / s[..., 1]) == Score(0.0, 0.0, 0.0, 60)
    with pytest.raises(ValueError, match="different items"):
        aligned([{"id": "a"}], [{"id": "b"}])


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


def test_lemmas_without_the_language_library_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(RuntimeError, match="needs NLTK"):
        lemmas("a dog")


CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "eval").glob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_evaluation_config_parses(config: Path) -> None:
    named = [name for name in names() if f"\n{name}:" in "\n" + config.read_text()]
    _, found = parse(named, ["--config", str(config), "--model", "runs/demo"])
    assert list(found) == named
    assert named
