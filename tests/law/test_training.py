"""Runs of training: what is not finite stops them with the batch saved, and their files are whole."""
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mm.training import JSONLines, Supervised
from mm.training.checkpoint import CheckpointError, load_weights
from mm.training.loss import TokenLoss
from tests.training_runs import TOY, run


@pytest.mark.parametrize("where", ["loss", "gradient norm"])
def test_nan_stops_with_the_batch_saved_and_the_weights_of_the_step_before(where: str, tmp_path: Path) -> None:
    def poisoned() -> None:
        clean = Supervised.loss

        def bad(self: Supervised, batch: Any) -> TokenLoss:
            loss = clean(self, batch)
            if self.global_step < 2:
                return loss
            if where == "loss":
                return loss._replace(total=loss.total * float("nan"))
            loss.total.register_hook(lambda gradient: gradient * float("inf"))
            return loss
        Supervised.loss = bad  # type: ignore[method-assign]

    ended = run(tmp_path / "run", "--checkpoints.every", "2", prepare=poisoned)
    assert ended.code == 1
    assert f"error: the {where} of step 2 is" in ended.text
    saved = json.loads((tmp_path / "run" / "nan_step_2.json").read_text())
    assert saved["ids"] == ended.ids[-2:]
    assert (tmp_path / "run" / "nan_step_2.safetensors").exists()
    assert all(torch.isfinite(value).all() for value in ended.checkpoint["state_dict"].values())


def test_a_line_that_a_kill_cut_short_is_dropped_at_resume(tmp_path: Path) -> None:
    logger = JSONLines(tmp_path)
    for step in (1, 2, 3):
        logger.log_metrics({"loss": 1.0 / step}, step)
    with logger.path.open("a") as file:
        file.write('{"step": 4, "lo')
    logger.rewind(2)
    logger.log_metrics({"loss": float("nan")}, 3)
    assert [json.loads(line) for line in logger.path.read_text().splitlines()] == [
        {"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}, {"step": 3, "loss": None}]


def test_a_row_behind_a_line_that_was_cut_short_is_not_lost_with_it(tmp_path: Path) -> None:
    logger = JSONLines(tmp_path)
    logger.log_metrics({"loss": 1.0}, 1)
    with logger.path.open("a") as file:
        file.write('{"step": 2, "lo')
    logger.log_metrics({"val/loss": 2.0}, 2)  # of a validation, which goes back nowhere
    assert [json.loads(line) for line in logger.path.read_text().splitlines()[::2]] == [{"step": 1, "loss": 1.0}, {"step": 2, "val/loss": 2.0}]


def test_a_second_stage_starts_with_the_weights_of_the_first(tmp_path: Path) -> None:
    first = run(tmp_path / "first", "--trainer.max_steps", "1")
    second = run(tmp_path / "second", "--trainer.max_steps", "1", "--config", "configs/stage/align.yaml",
                 "--model.init_from", str(tmp_path / "first"))
    assert first.code == second.code == 0, second.text
    moved = {name for name, value in first.checkpoint["state_dict"].items() if not torch.equal(value, second.checkpoint["state_dict"][name])}
    assert moved == {name for name in first.checkpoint["state_dict"] if name.startswith("vlm.projector")}
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load_weights(nn.Linear(1, 1), tmp_path)


def test_wandb_is_there_when_asked_for(tmp_path: Path) -> None:
    ended = run(tmp_path / "run", "--trainer.max_steps", "1", "--trainer.logger", "lightning.pytorch.loggers.WandbLogger",
                "--trainer.logger.offline", "true", "--trainer.logger.save_dir", str(tmp_path), config=TOY)
    assert ended.code == 0, ended.text
    assert list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(ended.rows) == 1
