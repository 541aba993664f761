"""Resuming equals never having stopped: sample order, loss, weights, optimiser, random generators, metrics; to the bit."""
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training_runs import TOY, Ended, run

MEASURED = {"tokens/s", "labels/s", "samples/s", "pictures/s", "samples/cpu_s", "wait", "mfu", "seconds", "cpu_seconds"}  # times; all else is equal
OPTIONS = ("--trainer.precision", "bf16-mixed", "--trainer.val_check_interval", "7", "--trainer.check_val_every_n_epoch", "null",
           "--data.val", "data.world.Scenes", "--data.val.size", "4", "--data.train.size", "11")


def learnt(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in MEASURED} for row in rows]


def flat(state: Any, name: str = "") -> dict[str, Any]:
    if isinstance(state, dict):
        return {key: value for part, inner in state.items() for key, value in flat(inner, f"{name}/{part}").items()}
    if isinstance(state, list | tuple):
        return {key: value for part, inner in enumerate(state) for key, value in flat(inner, f"{name}/{part}").items()}
    return {name: state}


def assert_equal_to_the_bit(found: Ended, expected: Ended) -> None:
    assert learnt(found.rows) == learnt(expected.rows)
    for part in ("state_dict", "optimizer_states", "callbacks"):
        ours, theirs = flat(found.checkpoint[part]), flat(expected.checkpoint[part])
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if "seconds" not in name:
                assert torch.equal(ours[name], value) if isinstance(value, torch.Tensor) else ours[name] == value, name


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    ended = run(tmp_path_factory.mktemp("straight") / "run", *OPTIONS)
    assert ended.code == 0, ended.text
    return ended


@pytest.mark.parametrize("workers", ["0", "2"])
def test_seven_steps_kill_minus_nine_and_seven_more_are_fourteen_straight_steps(straight: Ended, tmp_path: Path, workers: str) -> None:
    killed = run(tmp_path / "run", *OPTIONS, "--data.workers", workers, after={10: signal.SIGKILL})
    assert killed.code == -signal.SIGKILL
    assert killed.rows[-1]["step"] == 10  # three steps after the checkpoint, which are to be forgotten
    resumed = run(tmp_path / "run", *OPTIONS, "--data.workers", workers, "--resume", "true")
    assert resumed.code == 0, resumed.text
    assert resumed.ids[:14] == straight.ids[:14]
    assert resumed.ids[-14:] == straight.ids[-14:]
    assert_equal_to_the_bit(resumed, straight)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_checkpoints_at_once_and_the_run_goes_on_as_if_nothing_had_been(straight: Ended, tmp_path: Path, number: int) -> None:
    stopped = run(tmp_path / "run", *OPTIONS, after={4: number})
    assert stopped.code == 128 + number
    assert stopped.checkpoint["global_step"] == 5  # the step under way is finished, no other begun
    assert "--resume true" in stopped.text
    assert not (tmp_path / "run" / "model").exists()
    resumed = run(tmp_path / "run", *OPTIONS, "--resume", "true")
    assert resumed.code == 0, resumed.text
    assert resumed.ids == straight.ids
    assert_equal_to_the_bit(resumed, straight)


def test_resuming_a_finished_run_changes_nothing(straight: Ended) -> None:
    weights = (straight.folder / "model" / "model.safetensors").read_bytes()
    again = run(straight.folder, *OPTIONS, "--resume", "true")
    assert again.code == 0, again.text
    assert (straight.folder / "model" / "model.safetensors").read_bytes() == weights
    assert len(again.ids) == 28


def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path: Path) -> None:
    killed = run(tmp_path / "run", "--trainer.max_steps", "4", after={2: signal.SIGKILL}, config=TOY)
    assert killed.code == -signal.SIGKILL
    again = run(tmp_path / "run", "--trainer.max_steps", "4", "--resume", "true")
    assert again.code == 0, again.text
    assert [row["step"] for row in again.rows] == [1, 2, 3, 4]


def test_a_learning_rate_given_at_resume_counts(tmp_path: Path) -> None:
    """The optimiser's state brings the old rate along; it must not win."""
    assert run(tmp_path / "run", "--trainer.max_steps", "2").code == 0
    resumed = run(tmp_path / "run", "--trainer.max_steps", "3", "--resume", "true", "--model.schedule", "mm.training.Constant",
                  "--model.train", "{'*': 0.5}", "--model.optim", "mm.training.Optim", "--model.optim.betas", "[0.5, 0.6]")
    assert resumed.code == 0, resumed.text
    group = resumed.checkpoint["optimizer_states"][0]["param_groups"][0]
    assert (group["lr"], tuple(group["betas"])) == (0.5, (0.5, 0.6))
    assert resumed.rows[-1]["lr"] == 0.5
    assert "model.train.*: 0.001 → 0.5" in resumed.text
