"""Learning in context: who sees the demonstrations is right, and nobody is above one half under a control; runs from the command line; folders."""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from data.world import Episodes, Scene
from data.world.render import render
from eval.__main__ import Options, evaluate, main
from eval.frame.benchmark import Item
from eval.frame.result import Result
from eval.frame.runner import Answer
from eval.incontext.reading import exactly, keywords
from eval.truemicl import TrueMICL, gain, score, verdict
from tests.answering import saved
from tests.scripted import Scripted

SIZE = 80
ATTRIBUTES = ("colour", "shape", "size", "context")


def kind(scene: Scene) -> tuple[object, ...]:
    (thing,) = scene.objects
    return thing.colour, thing.shape, thing.size, scene.context


class Seeing:
    """Reads every picture perfectly, and labels from the text alone: takes the attribute whose values part the labels."""

    identity: ClassVar[dict[str, Any]] = {}
    config: ClassVar[dict[str, Any]] = {}
    lever = None

    def __init__(self, size: int) -> None:
        episodes = [Episodes("test", size).episode(i) for i in range(size)]
        scenes = [scene for episode in episodes for scene in (*(shown.scene for shown in episode.demonstrations), episode.query)]
        self.known = {render(scene).tobytes(): kind(scene) for scene in scenes}

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        return [Answer(self.one(item)) for item in items]

    def one(self, item: Item) -> str:
        *shown, query = [self.known.get(medium.frames.tobytes()) for medium in item.media()]
        labels = [word for word in item.question.replace("<image>", " ").split() if word not in ("label", "?")]
        if len(labels) != len(shown) or None in shown or query is None:
            return labels[0] if labels else "dax"
        for k in range(len(ATTRIBUTES)):
            rule: dict[object, set[str]] = {}
            for seen, label in zip(shown, labels, strict=True):
                rule.setdefault(seen[k], set()).add(label)  # type: ignore[index]
            if all(len(words) == 1 for words in rule.values()) and len(set().union(*rule.values())) == 2 and query[k] in rule:
                return rule[query[k]].pop()
        return labels[0]


def test_only_who_sees_the_demonstrations_gains(tmp_path: Path) -> None:
    result = evaluate("truemicl", TrueMICL(size=SIZE), Seeing(8 * SIZE + 8), Options(model="m", out=str(tmp_path)))
    value = {name: found["value"] for name, found in result.scores.items()}
    assert value["accuracy"] == 1.0
    for control in ("blank", "shuffled", "wordless"):
        assert value[f"{control}/accuracy"] < 0.5 + 1.5 / np.sqrt(SIZE)
    assert value["gain"] == 1 - value["blank/accuracy"]
    assert result.scores["gain"]["low"] > 0.3
    assert {f"{attribute}/gain" for attribute in ATTRIBUTES} <= value.keys()
    assert result.n == 4 * SIZE
    assert (tmp_path / "truemicl.blank.answers.jsonl").read_text().count("\n") == SIZE


def test_copying_the_last_label_is_right_half_of_the_time_exactly(tmp_path: Path) -> None:
    for demos in ((2,), (4,), (2, 4)):
        result = evaluate("truemicl", TrueMICL(size=50, demos=demos, controls=("blank",)), Scripted(lambda item: item.row["last"]),  # type: ignore[arg-type]
                          Options(model="m", out=str(tmp_path / str(demos))))
        assert [result.scores[name]["value"] for name in ("accuracy", "blank/accuracy", "gain", "copied")] == [0.5, 0.5, 0.0, 1.0]
        assert result.scores["gain"] == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 50}


def test_controls_change_what_they_say_and_nothing_else() -> None:
    items = {(item.row["control"], item.row["episode"]): item for item in TrueMICL(size=12, demos=(4,)).items()}
    moved = 0
    for control, name in [key for key in items if key[0] != "none"]:
        plain, changed = items["none", name], items[control, name]
        before, after = ([medium.frames.tobytes() for medium in item.media()] for item in (plain, changed))
        assert before[-1] == after[-1]
        assert plain.row | {"control": control} == changed.row
        assert (plain.question == changed.question) == (control != "wordless")
        if control == "blank":
            assert not any(medium.frames.any() for medium in changed.media()[:-1])
        elif control == "shuffled":
            assert sorted(before) == sorted(after)
            moved += before != after
        else:
            assert before == after
            assert not set(plain.row["known"]) & set(changed.question.split())
        assert TrueMICL().cluster(plain.row) == TrueMICL().cluster(changed.row)
    assert moved > 6
    assert len({item.picture for item in items.values()}) == len(items)  # else one control's pictures would be taken for another's


def test_the_command_line_shows_several_pictures_a_prompt(tmp_path: Path) -> None:
    command = ["--config", "configs/eval/truemicl.yaml", "--model", str(saved(tmp_path)), "--limit", "2", "--truemicl.size", "4"]
    assert main(["truemicl", *command, "--out", str(tmp_path / "world")]) == 0
    result = Result.load(tmp_path / "world/truemicl-limit2.json")
    assert result.n == 8
    assert {"accuracy", "gain", "blank/accuracy", "shuffled/gain", "wordless/accuracy", "copied"} <= result.scores.keys()
    given = ["--truemicl.data", str(folders(tmp_path / "own")), "--truemicl.shots", "2", "--out", str(tmp_path / "files")]
    assert main(["truemicl", *command, *given]) == 0
    rows = [json.loads(line) for line in (tmp_path / "files/truemicl-limit2.rows.jsonl").read_text().splitlines()]
    assert {(row["control"], row["task"]) for row in rows} == {(c, "clock") for c in ("none", "blank", "shuffled", "wordless")}
    exported = json.loads((tmp_path / "files/truemicl-limit2.none.answers.jsonl").read_text().splitlines()[0])
    assert exported.keys() == {"id", "task", "label", "answer"}


def folders(folder: Path) -> Path:
    """Two tasks; the second shows two pictures a question, and its first query names its demonstrations."""
    for task, pictures in (("clock", 1), ("odd", 2)):
        (folder / task).mkdir(parents=True)
        for name, rows in (("support", 4), ("query", 2)):
            records: list[dict[str, Any]] = []
            for i in range(rows):
                files = [f"{name}{i}{k}.png" for k in range(pictures)]
                for k, file in enumerate(files):
                    Image.new("RGB", (16, 16), (40 * i + 9, 50 * k + 9, 100 if name == "query" else 9)).save(folder / task / file)
                records.append({"id": i, "image": files if pictures > 1 else files[0], "question": f"{task} {i}?", "answer": i % 2})
            if task == "odd" and name == "query":
                records[0]["support"] = [3, 1]
            (folder / task / f"{name}.json").write_text(json.dumps(records))
    return folder


def test_folders_give_prompts_of_demonstrations_and_a_query(tmp_path: Path) -> None:
    benchmark = TrueMICL(str(folders(tmp_path)), shots=2, instruction="Learn.")
    items = {item.id: item for item in benchmark.items()}
    assert len(items) == 16
    item = items["odd/0/none"]
    two = "<image>\n<image>\n"
    assert item.question == f"Learn.\n{two}odd 3?\nAnswer: 1\n\n{two}odd 1?\nAnswer: 1\n\n{two}odd 0?\nAnswer:"
    assert [medium.frames[0, 0, 0].tolist() for medium in item.media()] == [
        [129, 9, 9], [129, 59, 9], [49, 9, 9], [49, 59, 9], [9, 9, 100], [9, 59, 100]]
    assert items["odd/0/wordless"].question == "Learn.\n" + "<image>\n" * 6 + "odd 0?\nAnswer:"
    shuffled = [medium.frames.tobytes() for medium in items["odd/0/shuffled"].media()]
    assert sorted(shuffled) == sorted(medium.frames.tobytes() for medium in item.media())
    assert item.row["known"] == ["0", "1"]
    assert {item.id: item.question for item in TrueMICL(str(tmp_path), shots=2, instruction="Learn.").items()} == {
        id: item.question for id, item in items.items()}


@pytest.mark.parametrize(("reply", "exact", "words"), [
    ("Dark red.", ["dark red"], ["dark red"]), ("It is red", [], ["red"]), ("", [], []), ("red or 12", [], ["12", "red"]), ("Rot", [], []),
    ("infrared 123", [], []), ("bla " * 2500, [], []), ("dark red, not red", [], ["dark red", "red"])],
    ids=["dressed", "sentence", "empty", "both", "german", "inside", "long", "holds"])
def test_odd_replies_give_the_answers_that_stand_in_them(tmp_path: Path, reply: str, exact: list[str], words: list[str]) -> None:
    known = ["12", "dark red", "red"]
    assert (exactly(reply, known), keywords(reply, known)) == (exact, words)
    row = {"control": "none", "episode": "a", "task": "t", "label": "Red", "known": known, "last": "12", "answer": reply}
    scored = score([row | verdict(row, keywords)])
    assert (scored.n, scored.unparsed) == (1, 0 if words else 1)
    assert scored.scores["accuracy"].value == ("red" in words)
    assert any("several answers" in remark for remark in scored.remarks) == (len(words) > 1)
    result = evaluate("truemicl", TrueMICL(size=2), Scripted(lambda item: reply), Options(model="m", out=str(tmp_path)))  # type: ignore[arg-type]
    assert (result.n, result.unparsed, result.scores["accuracy"]["value"]) == (8, 8, 0.0)


def test_both_labels_of_the_world_are_no_answer(tmp_path: Path) -> None:
    model = Scripted(lambda item: " ".join(item.row["known"]))
    result = evaluate("truemicl", TrueMICL(size=4), model, Options(model="m", out=str(tmp_path)))  # type: ignore[arg-type]
    assert result.unparsed == result.n


def test_a_gain_is_paired_by_episode() -> None:
    rows = [{"episode": str(i), "correct": i < 60} for i in range(100)]
    other = [{"episode": str(i), "correct": i < 50} for i in reversed(range(100))]
    found = gain(rows, other)
    assert found.value == pytest.approx(0.1)
    assert 0.03 < found.low < found.high < 0.18  # unpaired it would be as wide as .27
    assert np.isnan(gain(rows, []).value)


@pytest.mark.parametrize(("file", "rows", "message"), [
    ("query", [{"image": "a.png", "question": "?"}], "query.json, row 1: no answer"),
    ("query", [{"image": [], "question": "?", "answer": "1"}], "one picture or more"),
    ("query", [{"id": 0, "image": "a.png", "question": "?", "answer": "1", "support": [9]}], "not all in support.json"),
    ("support", [{"id": 5, "image": "a.png", "question": "?", "answer": "1"}] * 2, "id 5 comes twice"),
    ("support", [{"id": 5, "image": "a.png", "question": "?", "answer": "1"}], "lower shots")], ids=["answer", "picture", "support", "twice", "few"])
def test_what_is_wrong_in_a_folder_is_named(tmp_path: Path, file: str, rows: list[dict[str, Any]], message: str) -> None:
    (folders(tmp_path) / f"clock/{file}.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=message):
        TrueMICL(str(tmp_path), shots=4).items()
    with pytest.raises(ValueError, match=r"no query.json"):
        TrueMICL(str(tmp_path / "elsewhere")).items()
