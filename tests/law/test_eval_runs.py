"""Answers are collected once, whatever kills the run, and never mixed with those of other settings."""
import os
from dataclasses import replace
from pathlib import Path

import pytest

from eval.frame.benchmark import Item
from eval.frame.result import write_files
from eval.frame.runner import Mismatch, run
from eval.frame.views import VIEWS, blind, context
from eval.report.run import lines
from tests.scripted import Scripted, items, picture


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


def test_a_name_with_brackets_is_resumed_like_another(tmp_path: Path) -> None:
    answers = tmp_path / "pope-[b]*.items.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(items(), Scripted(lambda item: "yes", batches=2), answers, {}, 8, batch_size=2)
    model = Scripted(lambda item: "yes")
    run(items(), model, answers, {}, 8, batch_size=2)
    assert len(model.asked) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pope-[b]*.items.jsonl", "pope-[b]*.items.timings.jsonl"]


def test_nothing_is_written_behind_a_damaged_line(tmp_path: Path) -> None:
    answers = tmp_path / "a.jsonl"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(items(), Scripted(lambda item: "yes", batches=1), answers, {}, 8, batch_size=2)
        with (tmp_path / "a.part0.jsonl").open("ab") as file:
            file.write(b"\0\0\0\n")
    model = Scripted(lambda item: "yes")
    run(items(), model, answers, {}, 8, batch_size=2)
    assert len(model.asked) == 9


def test_names_and_answers_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"p\xff.jpg")
    asked = [replace(item, picture=name) for item in items(1)]
    rows = run(asked, Scripted(lambda item: "\ud83d\u2028yes"), tmp_path / "a.jsonl", {}, 8)
    assert rows == run(asked, Scripted(lambda item: "not asked"), tmp_path / "a.jsonl", {}, 8)
    assert {(row["picture"], row["answer"]) for row in rows} == {(name, "\ud83d\u2028yes")}
    write_files(tmp_path, "a", {"rows": rows})
    assert [row["answer"] for row in lines(tmp_path / "a.rows.jsonl")] == [row["answer"] for row in rows]
    assert VIEWS["shuffled"](asked[0]).media()[0].frames.shape == picture()[0].frames.shape


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
