"""Reading off what was drawn after a subject."""
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data.world import Subject, Subjects, World
from eval.custom.__main__ import main
from eval.custom.measuring import measured
from mm.diffusion.custom import Customiser, SubjectEncoder, SubjectProjector, VisualStream
from mm.vision import Pixels
from tests.drawing import pixart

WORLD = World(objects=(2, 2), repeat=0.0, grain=0.0, visibility=(1.0, 1.0), cells=(5, 6, 9, 10), every_pair=True,
              shapes=("circle", "square", "triangle", "cross"), colours=("red", "green", "blue", "yellow"))


def scene(subject: Subject) -> torch.Tensor:
    """As it is."""
    return torch.from_numpy(subject.image.copy()).permute(2, 0, 1) / 127.5 - 1


def recoloured(subject: Subject) -> torch.Tensor:
    """With the subject in another colour, of those that neither object has."""
    taken = {thing.colour for thing in subject.scene.objects}
    other = next(colour for colour in WORLD.colours if colour not in taken)
    return scene(replace(subject, scene=subject.scene.with_object(subject.index, replace(subject.thing, colour=other))))


def test_a_right_picture_is_right_and_one_in_another_colour_is_not() -> None:
    test = Subjects("test", 12, world=WORLD, unsaid=1.0, side=32)
    subjects = [test.subject(index) for index in range(12)]
    right, wrong = measured(subjects, scene), measured(subjects, recoloured)
    assert (right["colour"].value, right["other"].value) == (1.0, 1.0)
    assert (wrong["colour"].value, wrong["other"].value) == (0.0, 1.0)
    assert right["colour"].n == 12


def test_the_command_measures_three_arms_from_the_same_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from diffusers import DiffusionPipeline
    folder = pixart(tmp_path / "pixart")
    transformer = DiffusionPipeline.from_pretrained(folder).transformer
    stream = VisualStream.beside(transformer, 6)  # untrained: all arms draw the same
    Customiser(SubjectEncoder([Pixels(8, 4)], 8), SubjectProjector(48, 6, 8, 2), stream).save(tmp_path / "customiser")
    assert main(["--pipeline", str(folder), "--customiser", str(tmp_path / "customiser"), "--count", "2", "--steps", "2"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row[:24].strip() for row in rows] == ["pipeline alone", "picture everywhere", "picture under the mask"]
    assert len({row[24:] for row in rows}) == 1
    assert "colour" in rows[0]
    assert "other" in rows[0]
