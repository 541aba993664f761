"""Answers are collected once, whatever kills the run, and never mixed with those of other settings."""
from pathlib import Path

import pytest

from eval.frame.benchmark import Item
from eval.frame.runner import Mismatch, run
from eval.frame.views import blind, context
from tests.scripted import Scripted, items


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


def test_a_part_that_was_cut_at_any_byte_is_resumed(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole.jsonl", tmp_path / "cut"
    wanted = run(items(3), Scripted(lambda item: item.id), whole, {}, 8, batch_size=1)
    with pytest.raises(KeyboardInterrupt):
        run(items(3), Scripted(lambda item: item.id, batches=2), folder / "a.jsonl", {}, 8, batch_size=1)
    content = (folder / "a.part0.jsonl").read_bytes()
    for cut in range(0, len(content), 13):
        (folder / "a.part0.jsonl").write_bytes(content[:cut])
        (folder / "a.part1.jsonl.part").write_bytes(b"{")
        model = Scripted(lambda item: item.id)
        assert run(items(3), model, folder / "a.jsonl", {}, 8, batch_size=1) == wanted
        assert len(model.asked) == 9 - 3 * max(0, content[:cut].count(b"\n") - 1)
        assert (folder / "a.jsonl").read_bytes() == whole.read_bytes()
        assert sorted(path.name for path in folder.iterdir()) == ["a.jsonl", "a.timings.jsonl"]
        (folder / "a.jsonl").unlink()


def test_answers_of_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    run(items(), Scripted(lambda item: "yes"), tmp_path / "a.jsonl", {"prompt": "", "size": 5}, 8)
    with pytest.raises(Mismatch, match="size was 5 and is 6"):
        run(items(), Scripted(lambda item: "yes"), tmp_path / "a.jsonl", {"prompt": "", "size": 6}, 8)
    with pytest.raises(Mismatch, match="no answer to item"):
        run(items()[::-1], Scripted(lambda item: "yes"), tmp_path / "a.jsonl", {"prompt": "", "size": 5}, 8)


def test_the_blind_model_sees_nothing(tmp_path: Path) -> None:
    def brightness(item: Item) -> str:
        return str(item.media()[0].frames.max())

    assert {row["answer"] for row in run(items(), Scripted(brightness), tmp_path / "full.jsonl", {}, 4)} == {"9"}
    assert {row["answer"] for row in run([blind(i) for i in items()], Scripted(brightness), tmp_path / "blind.jsonl", {}, 4)} == {"0"}
    with pytest.raises(ValueError, match="procedural world only"):
        context(items()[0])
