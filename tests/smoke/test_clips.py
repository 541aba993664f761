"""The comparison on clips at toy size, from training to tables and picture."""
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.clips.__main__ import main
from eval.clips.arms import ARMS
from eval.laboratory.training import run_dir
from mm.models import VLM
from tests.training_runs import forked, refused

ASKED = ("ccam_full", "ccam_causal", "pooled", "crosslmm")
SIZE = ["--steps", "2", "--short_steps", "1", "--size", "6", "--later", "9", "--seeds", "0", "1", "--arms", *ASKED]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    assert main([str(folder), *SIZE], forked) == 0
    return folder


@pytest.fixture(scope="module")
def found(out: Path) -> dict[str, Any]:
    return json.loads((out / "clips.json").read_text(encoding="utf-8"))


def rows(out: Path, arm: str, seed: int, frames: int) -> list[dict[str, Any]]:
    path = run_dir(out, arm, seed) / "eval" / f"frames-{frames}" / "order.rows.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_levels_and_differences_are_those_of_the_answers(out: Path, found: dict[str, Any]) -> None:
    assert [(row["arm"], row["frames"]) for row in found["levels"]] == [(arm, frames) for arm in ASKED for frames in (6, 9)]
    right = {(arm, frames): np.array([[row["correct"] for row in rows(out, arm, seed, frames)] for seed in (0, 1)])
             for arm in ASKED for frames in (6, 9)}
    for row in found["levels"]:
        answers = right[row["arm"], row["frames"]]
        assert answers.shape == (2, 6)
        assert row["by_seed"] == pytest.approx(answers.mean(1).tolist())
        assert row["accuracy"] == pytest.approx(answers.mean())
    assert [(row["lever"], row["control"]) for row in found["comparisons"]] == [
        (arm.name, arm.control) for arm in ARMS if arm.name in ASKED and arm.control in ASKED for _ in (6, 9)]
    for row in found["comparisons"]:
        before, after = right[row["control"], row["frames"]], right[row["lever"], row["frames"]]
        assert row["value"] == pytest.approx(after.mean() - before.mean())


def test_costs_are_those_of_the_models(out: Path, found: dict[str, Any]) -> None:
    assert {name: spent["tokens"] for name, spent in found["costs"].items()} == {"ccam_full": 12, "ccam_causal": 12, "pooled": 6, "crosslmm": 6}
    for name, spent in found["costs"].items():
        assert spent["parameters"] == sum(parameter.numel() for parameter in VLM.load(run_dir(out, name, 0)).parameters())
    assert found["costs"]["crosslmm"]["parameters"] > found["costs"]["pooled"]["parameters"]


def test_what_is_trained_is_what_goes_on_from_short_clips(out: Path) -> None:
    config = (run_dir(out, "ccam_causal", 1) / "config.yaml").read_text(encoding="utf-8")
    assert str(run_dir(out, "ccam_causal-short", 1)) in config
    assert "frames: 6" in config
    assert "frames: 2" in (run_dir(out, "ccam_causal-short", 1) / "config.yaml").read_text(encoding="utf-8")


def test_tables_and_picture_are_there(out: Path) -> None:
    text = (out / "clips.md").read_text(encoding="utf-8")
    assert all(arm.label in text for arm in ARMS if arm.name in ASKED)
    assert min(Image.open(out / "clips.png").size) > 300


def test_what_is_done_is_not_done_again_and_another_budget_is_refused(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (out / "clips.md").read_bytes()
    assert main([str(out), *SIZE], refused) == 0
    assert (out / "clips.md").read_bytes() == before
    assert main([str(out), *SIZE, "--steps", "3"], refused) == 2
    assert "give another directory" in capsys.readouterr().err
