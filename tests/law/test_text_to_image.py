"""Training of text-to-image models through train.py: exact in pieces and over interruptions, and what it leaves is a pipeline of diffusers."""
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from mm.diffusion.load import load
from tests.drawing import DRAW, SMALL, pixart
from tests.law.test_resume import assert_equal_to_the_bit
from tests.photos import write_photographs
from tests.training_runs import Ended, run

OPTIONS = (*SMALL, "--trainer.max_steps", "6", "--checkpoints.every", "3", "--trainer.val_check_interval", "3")
ADAPT = ["fit", "--config", "configs/edit/lora.yaml"]
LORA = ("--trainer.max_steps", "2", "--data.batch_size", "2", "--journal.every", "1", "--model.init_args.pipeline.init_args.path")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    ended = run(tmp_path_factory.mktemp("straight") / "run", *OPTIONS, config=DRAW)
    assert ended.code == 0, ended.text
    return ended


def drawn(pipeline: Any) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    out = pipeline(["a red circle left of a blue square"], num_inference_steps=3, guidance_scale=3.0, output_type="pt",
                   generator=torch.Generator().manual_seed(0))
    return torch.as_tensor(out.images)


def test_a_run_leaves_a_pipeline_that_draws_the_same_whenever_it_is_loaded(straight: Ended, tmp_path: Path) -> None:
    first = load(straight.folder / "pipeline")
    assert type(first).__name__ == "StableDiffusionPipeline"
    picture = drawn(first)
    assert picture.shape == (1, 3, 32, 32)
    first.save_pretrained(tmp_path / "again")
    assert torch.equal(drawn(load(tmp_path / "again")), picture)


def test_rows_say_what_a_run_of_pictures_is_about(straight: Ended) -> None:
    training = [row for row in straight.rows if "loss" in row]
    assert [row["step"] for row in training] == [1, 2, 3, 4, 5, 6]
    assert {"samples", "pictures/s", "lr", "gradient_norm", "cpu_seconds"} <= training[0].keys()
    assert [row["step"] for row in straight.rows if "val/loss" in row] == [3, 6]


def test_the_pipeline_has_the_averaged_weights(straight: Ended) -> None:
    saved = load(straight.folder / "pipeline").unet.state_dict()
    average, last = straight.checkpoint["average"], straight.checkpoint["state_dict"]
    assert all(torch.equal(value, average[f"unet.{name}"]) for name, value in saved.items())
    assert any(not torch.equal(value, last[f"kept.unet.{name}"]) for name, value in saved.items())


def test_three_steps_kill_minus_nine_and_three_more_are_six_straight_steps(straight: Ended, tmp_path: Path) -> None:
    killed = run(tmp_path / "run", *OPTIONS, config=DRAW, after={4: signal.SIGKILL})
    assert killed.code == -signal.SIGKILL
    resumed = run(tmp_path / "run", *OPTIONS, "--resume", "true", config=DRAW)
    assert resumed.code == 0, resumed.text
    assert_equal_to_the_bit(resumed, straight)
    ours, theirs = resumed.checkpoint["average"], straight.checkpoint["average"]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, ours[name]) for name, value in theirs.items())
    for part in ("unet", "vae"):
        file = f"pipeline/{part}/diffusion_pytorch_model.safetensors"
        assert (resumed.folder / file).read_bytes() == (straight.folder / file).read_bytes()


def test_two_small_batches_are_one_large_batch(straight: Ended, tmp_path: Path) -> None:
    pieces = run(tmp_path / "run", *OPTIONS, "--data.batch_size", "1", "--trainer.accumulate_grad_batches", "2", config=DRAW)
    assert pieces.code == 0, pieces.text
    assert pieces.ids == straight.ids
    rows = [[row["loss"] for row in ended.rows if "loss" in row] for ended in (pieces, straight)]
    assert rows[0] == pytest.approx(rows[1], abs=1e-5)


def test_adapters_train_alone_and_are_merged_into_what_is_left(straight: Ended, tmp_path: Path) -> None:
    base = straight.folder / "pipeline"
    ended = run(tmp_path / "run", *LORA, str(base), "--model.init_args.train", "{'*lora_*': 0.1}", "--data.train", "data.world.Edits",
                "--data.train.size", "8", config=ADAPT)
    assert ended.code == 0, ended.text
    assert all("lora_" in name for name in ended.checkpoint["trained"])
    assert not any(name.startswith(("kept.vae", "kept.text_encoder")) for name in ended.checkpoint["state_dict"])
    before = load(base)
    frozen = {name.replace(".base_layer", ""): value for name, value in ended.checkpoint["state_dict"].items() if "lora_" not in name}
    assert all(torch.equal(frozen[f"kept.unet.{name}"], value) for name, value in before.unet.state_dict().items())
    plain = drawn(before)
    before.load_lora_weights(ended.folder / "lora")
    merged = drawn(load(ended.folder / "pipeline"))
    assert (merged - plain).abs().max() > 1e-3
    torch.testing.assert_close(drawn(before), merged, atol=1e-4, rtol=0)


def test_a_transformer_learns_from_a_folder_of_own_pictures(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    file = write_photographs(tmp_path / "photographs")
    ended = run(tmp_path / "run", *LORA, str(pixart(tmp_path / "pixart")), "--model.init_args.lora", "null", "--model.init_args.train",
                "{transformer: 1.0e-4}", "--data.train.file", str(file), config=ADAPT)
    assert ended.code == 0, ended.text
    assert len(ended.ids) == 4
    assert (ended.folder / "pipeline" / "transformer").is_dir()
