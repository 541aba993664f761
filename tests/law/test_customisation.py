"""Training of a visual stream through train.py: the pipeline stays as it is, and what is left draws."""
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from data.world import Subjects, World
from data.world.recognise import recognise
from data.world.vocabulary import COLOURS, RGB
from mm.diffusion.custom import Customiser, RealCustom
from mm.diffusion.denoisers import denoiser
from mm.sample import BadSample, Media, Sample, Turn
from mm.training.references import ReferencedPictures
from tests.drawing import pixart
from tests.law.test_resume import assert_equal_to_the_bit
from tests.training_runs import ROOT, Ended, run

CUSTOM = ["fit", "--config", str(ROOT / "configs" / "edit" / "custom.yaml")]
WORLD = World(objects=(2, 2), repeat=0.0, grain=0.0, visibility=(1.0, 1.0), cells=(5, 6, 9, 10), every_pair=True,
              shapes=("circle", "square", "triangle", "cross"), colours=("red", "green", "blue", "yellow"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pixart(tmp_path_factory.mktemp("base") / "pixart")


def options(base: Path) -> tuple[str, ...]:
    return ("--model.init_args.pipeline.init_args.path", str(base), "--data.batch_size", "2", "--data.train.size", "20", "--data.val.size", "2",
            "--journal.every", "1", "--model.init_args.hidden", "16", "--model.init_args.heads", "2", "--data.workers", "0",
            "--model.init_args.schedule.warmup", "1", "--trainer.max_steps", "4", "--checkpoints.every", "2", "--trainer.val_check_interval", "2")


@pytest.fixture(scope="module")
def straight(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    ended = run(tmp_path_factory.mktemp("straight") / "run", *options(base), config=CUSTOM)
    assert ended.code == 0, ended.text
    return ended


def test_only_projector_and_stream_are_trained_and_kept(straight: Ended) -> None:
    assert straight.checkpoint["trained"]
    assert all(name.startswith(("projector.", "stream.")) for name in straight.checkpoint["trained"])
    assert {name.split(".")[1] for name in straight.checkpoint["state_dict"]} == {"projector", "stream"}
    assert [row["step"] for row in straight.rows if "val/loss" in row] == [2, 4]
    assert not (straight.folder / "pipeline").exists()


def test_what_is_left_draws_after_a_picture(straight: Ended, base: Path) -> None:
    pipe = DiffusionPipeline.from_pretrained(base)
    customiser = Customiser.load(straight.folder / "customiser")
    assert any(float(value.weight.detach().abs().max()) > 0 for value in customiser.stream.values.values())  # type: ignore[operator, arg-type]
    average = straight.checkpoint["average"]
    assert all(torch.equal(value, average[f"stream.{name}"]) for name, value in customiser.stream.state_dict().items())
    picture = torch.zeros(3, 8, 8, dtype=torch.uint8)
    found = RealCustom(denoiser(pipe), customiser)("a red circle left of a blue square", ["circle"], [picture], steps=2)
    assert found.pictures.isfinite().all()


def test_killed_and_resumed_is_never_having_stopped(straight: Ended, base: Path, tmp_path: Path) -> None:
    killed = run(tmp_path / "run", *options(base), config=CUSTOM, after={3: signal.SIGKILL})
    assert killed.code == -signal.SIGKILL
    resumed = run(tmp_path / "run", *options(base), "--resume", "true", config=CUSTOM)
    assert resumed.code == 0, resumed.text
    assert_equal_to_the_bit(resumed, straight)
    for file in ("stream.safetensors", "projector.safetensors"):
        assert (resumed.folder / "customiser" / file).read_bytes() == (straight.folder / "customiser" / file).read_bytes()


def test_a_subject_is_alone_in_its_picture_and_its_colour_may_be_said_by_nothing_else() -> None:
    subjects = Subjects(size=40, world=WORLD, side=32)
    said = 0
    for index in range(40):
        subject, sample = subjects.subject(index), subjects[index]
        reference, scene = (media.frames[0] for media in sample.media)
        assert (reference.shape, scene.shape) == ((24, 24, 3), (32, 32, 3))
        (found,) = recognise(reference, 1)
        assert (found.shape, found.colour) == subject.thing.pair
        assert {(each.shape, each.colour) for each in recognise(scene, 2)} == {thing.pair for thing in subject.scene.objects}
        ink = np.array(RGB[COLOURS.index(subject.thing.colour)], int)
        assert np.abs(reference[12, 12].astype(int) - ink).max() < 60 or subject.thing.shape == "cross"
        caption = sample.turns[1].answer
        words = caption.split()
        assert (words[words.index(subject.thing.shape) - 1] == subject.thing.colour) == subject.said
        said += subject.said
    assert 10 < said < 30


def test_the_last_picture_is_drawn_after_the_first() -> None:
    reader = ReferencedPictures(32, 16, caption_dropout=0.0, picture_dropout=0.0)
    sample = Subjects(size=1, world=WORLD, side=32)[0]
    row = reader.encode(sample)
    assert row.captions == (sample.turns[1].answer,)
    assert torch.equal(row.pixels[0].permute(1, 2, 0), torch.from_numpy(sample.media[1].frames[0].copy()))
    assert (row.references.shape, row.unseen.tolist()) == ((1, 3, 16, 16), [False])
    alone = reader.encode(Sample("own", sample.media[1:], sample.turns[1:]))
    assert alone.captions == row.captions
    batch = reader.collate([row, alone]).to("cpu")
    assert batch.references.shape == (2, 3, 16, 16)
    assert batch.samples == 2
    assert ReferencedPictures(32, 16, picture_dropout=1.0).encode(sample).unseen.tolist() == [True]


def test_bad_input_is_said() -> None:
    picture = Media(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(BadSample, match="expected a reference and the picture to draw"):
        ReferencedPictures(8, 8).encode(Sample("many", (picture,) * 3, (Turn("<image>", "a"),) * 3))
    with pytest.raises(ValueError, match="expected a share between 0 and 1"):
        ReferencedPictures(8, 8, picture_dropout=2)
    with pytest.raises(ValueError, match="captions are of two objects"):
        Subjects(world=World(objects=(1, 3)))
    with pytest.raises(ValueError, match="expected a share, and an even side"):
        Subjects(world=WORLD, unsaid=1.5)
