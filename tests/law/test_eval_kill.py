"""kill -9 in the middle of an evaluation: started again, with any number of processes, it ends in the same bytes and asks nothing twice."""
from pathlib import Path

import pytest
import torch

from eval.__main__ import main
from eval.frame.model import Model
from eval.frame.same import differences
from tests.answering import saved
from tests.evaluations import batches, free_port, kill_in_the_middle, start

ALL = 150  # batches


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def undisturbed(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    torch.set_num_threads(1)
    assert main(command(directory, folder)) == 0
    return folder


def command(directory: Path, out: Path) -> list[str]:
    return ["pope", "--model", str(directory), "--out", str(out), "--pope.size", str(ALL), "--batch_size", "1"]


def finish(directory: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Start again in this process. Returns the number of batches that were asked."""
    asked: list[object] = []
    answer = Model.answer
    monkeypatch.setattr(Model, "answer", lambda self, items, limit: asked.append(items) or answer(self, items, limit))
    assert main(command(directory, out)) == 0
    return len(asked)


def test_a_killed_process_is_continued_to_the_byte(directory: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(command(directory, tmp_path))
    kill_in_the_middle(process, tmp_path / "pope.items.part0.jsonl")
    assert process.wait() == -9
    kept = len(batches(tmp_path / "pope.items.part0.jsonl"))
    assert 3 <= kept < ALL
    assert not (tmp_path / "pope.json").exists()
    asked = finish(directory, tmp_path, monkeypatch)
    assert asked + kept == len((undisturbed / "pope.items.timings.jsonl").read_text().splitlines())
    assert differences(tmp_path, undisturbed) == []


def test_a_process_that_dies_ends_all_and_one_goes_on(
        directory: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    crew = [start(command(directory, tmp_path), rank, 2, port) for rank in range(2)]
    kill_in_the_middle(crew[1], tmp_path / "pope.items.part1.jsonl")
    said, told = crew[0].communicate(timeout=60)
    assert crew[0].returncode == 2
    assert said == ""
    errors = [line for line in told.splitlines() if line.startswith("eval:")]
    assert len(errors) == 1
    assert "process 0 of 2: another process of this run ended before it was done" in errors[0]
    kept = [len(batches(tmp_path / f"pope.items.part{rank}.jsonl")) for rank in range(2)]
    assert min(kept) >= 3
    asked = finish(directory, tmp_path, monkeypatch)
    assert asked + sum(kept) == len((undisturbed / "pope.items.timings.jsonl").read_text().splitlines())
    assert differences(tmp_path, undisturbed) == []
