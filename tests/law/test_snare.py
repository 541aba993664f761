"""SNARE: captions of the world that are what they are labelled, the user's rows, and runs from the command line to the result."""
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.world import WORDS, Scenes
from data.world.scene import Scene
from eval.__main__ import Options, evaluate, main
from eval.composition.case import Case, polled, polled_in_world
from eval.composition.rows import load
from eval.composition.world import RELATIONS, cases
from eval.frame.benchmark import Item
from eval.frame.result import Result
from eval.frame.runner import Answer
from eval.snare import SNARE, parse
from tests.answering import saved
from tests.scripted import Scripted

SIZE = 120
CASES = cases(SIZE, 0)


def scene_of(case: Case) -> Scene:
    return Scenes("test", SIZE, 0).scene(int(case.picture.rsplit("-", 1)[1]))


def says(scene: Scene, caption: str) -> bool:
    """Whether a well-formed caption of the world is true, read word by word."""
    words = caption.removesuffix(" .").split()
    if words[:2] == ["there", "is"]:
        if words[2] == "no":
            return words[3] not in scene.present
        terms = [term.split()[1:] for term in " ".join(words[2:]).split(" , ")]
        known = {thing.pair for thing in scene.objects}
        return all((term[1], term[0]) in known if len(term) == 2 else term[0] in scene.present for term in terms)
    one, other = ([thing for thing in scene.objects if thing.shape == shape] for shape in (words[1], words[-1]))
    assert len(one) == len(other) == 1
    where = one[0].col < other[0].col, one[0].col > other[0].col, one[0].row < other[0].row, one[0].row > other[0].row
    return dict(zip(RELATIONS, where, strict=True))[" ".join(words[3:-2])]


def test_the_world_s_captions_are_what_their_labels_say() -> None:
    for case in CASES:
        scene = scene_of(case)
        judged = range(len(case.captions))
        if case.task == "semantic_structure":  # the last two are no sentences
            judged = range(2)
        if case.task == "relationship_composition":  # the last says less, and nothing false
            judged = range(2)
            assert not case.labels[2]
        assert [says(scene, case.captions[k]) for k in judged] == [case.labels[k] for k in judged], case


def test_words_do_not_give_the_world_s_answers_away() -> None:
    assert {word for case in CASES for caption in case.captions for word in caption.split()} <= set(WORDS)
    assert Counter(case.labels for case in CASES if case.task == "negation_logic") == {(True, False): SIZE / 2, (False, True): SIZE / 2}
    for case in CASES:
        assert len(set(case.captions)) == len(case.captions)
        if case.task in ("semantic_structure", "attribute_ownership"):  # but for articles, which go with their words
            assert len({tuple(sorted("a" if word == "an" else word for word in caption.split())) for caption in case.captions}) == 1
    spatial = np.array([case.labels for case in CASES if case.task == "spatial_relations"])
    assert np.abs(spatial.mean(0) - 0.4).max() < 0.12
    assert [case.captions for case in cases(SIZE, 0)] == [case.captions for case in CASES]
    assert [case.captions for case in CASES] != [case.captions for case in cases(SIZE, 1)]


class Ranking:
    """Gives captions log-probabilities by rule, and every caption as many tokens as words."""

    identity: dict[str, Any] = {}  # noqa: RUF012
    config: dict[str, Any] = {}  # noqa: RUF012
    lever = None

    def __init__(self, rule: Callable[[Item, str], float]) -> None:
        self.rule = rule

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        return [Answer("there", {c: self.rule(item, c) * len(c.split()) for c in item.candidates}, {c: len(c.split()) for c in item.candidates})
                for item in items]


def test_a_model_that_knows_is_right_and_one_that_counts_words_is_not(tmp_path: Path) -> None:
    truth = {(case.picture, caption): label for case in CASES for caption, label in zip(case.captions, case.labels, strict=True)}
    knows = evaluate("snare", SNARE(size=SIZE), Ranking(lambda item, c: truth[item.picture, c]), Options(model="m", out=str(tmp_path / "knows")))
    assert {score["value"] for name, score in knows.scores.items() if name.endswith("/accuracy")} == {1.0}
    assert (knows.n, knows.unparsed) == (len(CASES), 0)
    assert knows.scores["relationship_composition/correct"]["value"] == 1.0
    counts = evaluate("snare", SNARE(size=SIZE), Ranking(lambda item, c: -len(c.split())), Options(model="m", out=str(tmp_path / "counts")))
    assert counts.scores["relationship_composition/relation_removed"]["value"] == 1.0
    assert counts.scores["negation_logic/accuracy"]["value"] == 0.5
    assert counts.scores["semantic_structure/correct"]["value"] == 1.0  # a tie, which the official script gives to the first
    assert counts.scores["spatial_relations/top3"]["value"] > counts.scores["spatial_relations/top2"]["value"]


def test_the_command_line_ranks_and_polls(tmp_path: Path) -> None:
    command = ["--config", "configs/eval/snare.yaml", "--model", str(saved(tmp_path)), "--limit", "3", "--snare.size", "4"]
    assert main(["snare", "snare:blind", *command, "--out", str(tmp_path / "ranked")]) == 0
    assert main(["snare", *command, "--snare.protocol", "polling", "--out", str(tmp_path / "polled")]) == 0
    full, blind = (Result.load(tmp_path / f"ranked/snare{view}-limit3.json") for view in ("", "-blind"))
    assert full.unparsed == 0
    assert full.scores.keys() == blind.scores.keys()
    rows = [json.loads(line) for line in (tmp_path / "ranked/snare-limit3.rows.jsonl").read_text().splitlines()]
    assert all(row["scores"] == [row["logp"][c] / row["tokens"][c] for c in row["captions"]] for row in rows)
    assert rows[0]["tokens"][rows[0]["captions"][0]] == len(rows[0]["captions"][0].split()) + 1  # the end is one of them
    exported = [json.loads(line) for line in (tmp_path / "ranked/snare-limit3.semantic_structure.jsonl").read_text().splitlines()]
    assert np.array([row["scores"] for row in exported]).shape == (3, 1, 4)
    asked = Result.load(tmp_path / "polled/snare-limit3.json")
    assert asked.n == sum(len(row["captions"]) for row in rows)
    exported = [json.loads(line) for line in (tmp_path / "polled/snare-limit3.negation_logic.jsonl").read_text().splitlines()]
    assert np.array([row["scores"] for row in exported]).shape == (3, 1, 2)


@pytest.mark.parametrize(("answer", "official", "strict"), [
    ("Yes.", "yes", "yes"), ("", None, None), ("yes and no", "yes", None), ("I know", "no", None), ("Nein", None, None), ("His eyes", "yes", None),
    ("bla " * 2500, None, None), ("NO", "no", "no")], ids=["yes", "empty", "both", "know", "german", "eyes", "long", "capitals"])
def test_odd_answers_to_polls_are_counted(tmp_path: Path, answer: str, official: str | None, strict: str | None) -> None:
    assert (parse(answer), parse(answer, "strict")) == (official, strict)
    benchmark = SNARE(size=6, protocol="polling")
    for parser, said in (("official", official), ("strict", strict)):
        options = Options(model="m", out=str(tmp_path), parser=parser)  # type: ignore[arg-type]
        result = evaluate("snare", benchmark, Scripted(lambda item: answer), options)  # type: ignore[arg-type]
        assert result.n == sum(len(case.captions) for case in cases(6, 0))
        assert result.unparsed == (0 if said else result.n)
        assert result.scores["negation_logic/affirmed"]["value"] == (said == "yes")
        assert result.scores["negation_logic/accuracy"]["value"] == 0.0  # the same said to both is never right


def test_captions_without_scores_are_counted(tmp_path: Path) -> None:
    result = evaluate("snare", SNARE(size=4), Scripted(lambda item: "there"), Options(model="m", out=str(tmp_path)))  # type: ignore[arg-type]
    assert result.unparsed == result.n > 0
    assert result.scores["mean/accuracy"]["value"] == 0.0


ATTRIBUTES = {"image_path": "a.png", "bbox_x": 2, "bbox_y": 4, "bbox_w": 10, "bbox_h": 8, "attributes": ["red", "old"], "obj1_name": "cup",
              "obj2_name": "dog", "true_caption": "the red cup and the old dog", "false_caption": "the old cup and the red dog"}
RELATION = {"image_path": "a.png", "relation_name": "on", "true_caption": "the cup is on the table", "false_caption": "the table is on the cup"}


def test_scores_that_are_no_numbers_make_no_caption_right() -> None:
    """All comparisons with NaN fail, so the order would stay as it is, the right caption first."""
    row = {"captions": ["a", "b"], "labels": [True, False], "logp": {"a": math.nan, "b": math.nan}, "tokens": {"a": 1, "b": 1}, "answer": ""}
    for logp in (row["logp"], {"a": math.nan, "b": -1.0}, {"a": -1.0, "b": math.nan}):
        verdict = SNARE().judge({**row, "logp": logp}, "official")
        assert (verdict["matched"], verdict["correct"], verdict["scores"]) == (False, False, None)


def test_the_user_s_rows_and_those_of_aro_become_cases(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/visual_genome_attribution.json").write_text(json.dumps([ATTRIBUTES]))
    (tmp_path / "rows/visual_genome_relation.json").write_text(json.dumps([RELATION, {**RELATION, "relation_name": "near"}]))
    own = {"task": "semantic_structure", "image": "a.png", "captions": ["a dog runs", "a run dogs"], "box": [0, 0, 9, 9]}
    (tmp_path / "rows/own.jsonl").write_text(json.dumps(own) + "\n")
    found = {case.task: case for case in load(tmp_path / "rows", str(tmp_path))}
    assert found["attribute_ownership"].captions[2] == "the cup and the dog are red and old respectively"
    assert found["negation_logic"].captions == ("the cup is red and the dog is old", "the cup is not red and the dog is not old")
    assert found["relationship_composition"].captions[2] == "the cup and the table"
    assert found["spatial_relations"].captions[3] == "the cup is below the table"
    assert found["spatial_relations"].labels == (False, False, True, False)
    assert found["semantic_structure"].classes == ("correct", "content_shuffled")
    assert found["negation_logic"].media()[0].frames.shape == (1, 8, 10, 3)
    result = evaluate("snare", SNARE(str(tmp_path / "rows"), str(tmp_path)), Ranking(lambda item, c: -len(c)), Options(model="m", out=str(tmp_path)))
    assert result.n == 5
    assert result.scores["negation_logic/correct"]["value"] == 1.0


@pytest.mark.parametrize(("row", "message"), [
    ({"task": "order", "image": "a.png", "captions": ["a", "b"]}, "row 1: task 'order'"),
    ({"task": "negation_logic", "image": "a.png", "captions": ["a"]}, "two or more captions"),
    ({"task": "negation_logic", "image": "a.png", "captions": ["a", "b"], "labels": [0, 0]}, "at least one of them right"),
    ({"image_path": "a.png", "true_caption": "a"}, "row 1: no false_caption"),
    ({**RELATION, "relation_name": "near"}, "gives no case")], ids=["task", "captions", "labels", "fields", "vague"])
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "rows.json", None)


def test_groups_of_25_cases_are_reported(tmp_path: Path) -> None:
    rows = [{"task": "negation_logic", "image": f"{i}.png", "captions": ["a", "b"], "group": "big" if i < 25 else "small"} for i in range(40)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    benchmark = SNARE(str(tmp_path / "rows.json"))
    answered = [{**item.row, "id": item.id, "picture": item.picture, "answer": "", "logp": {"a": -1.0, "b": -2.0}, "tokens": {"a": 1, "b": 1}}
                for item in benchmark.items()]
    scores = benchmark.aggregate([{**row, **benchmark.judge(row, "official")} for row in answered]).scores
    assert {name for name in scores if name.endswith("/accuracy")} == {"negation_logic/accuracy", "negation_logic/big/accuracy"}


def test_polls_put_the_verb_in_front() -> None:
    assert polled("the cup is on the island.") == "is the cup on the island in the image?"
    assert polled("a dog runs") == "are there a dog runs in the image?"
    assert polled_in_world("there is a red star , a blue ring .") == "is there a red star , a blue ring ?"
    assert polled_in_world("the star and the ring .") == "is there the star and the ring ?"
