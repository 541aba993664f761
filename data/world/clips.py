"""Clips with a question on order in time, for models that must tell frames apart: Fei et al., "Video-CCAM", 2024.

Two shapes appear, each in one frame at a random place. Who sees all frames but not their order knows the two shapes, and answers half of the
questions: a model is order-blind unless it beats 50 %.
"""
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from data.world.draws import Draws, Purpose
from data.world.render import INK, develop
from data.world.sampling import World
from data.world.scene import CELL, RADII
from data.world.shapes import mask
from data.world.splits import Name, Split
from data.world.view import View
from data.world.vocabulary import COLOURS, SHAPES
from mm.sample import PLACEHOLDERS, Media, Sample, Turn

SIDE = 32  # px
GREY = 100
SHAPES_IN_CLIPS = SHAPES[:6]
ORDINALS = ("first", "second")


@dataclass(frozen=True)
class Appearance:
    """A shape in one frame. top, left: of its 16 × 16 mask, in px. size: index into `RADII`."""

    frame: int
    shape: str
    colour: str
    size: int
    top: int
    left: int
    visibility: float


@dataclass(frozen=True)
class Clip:
    """Ground truth of one clip. appearances: in order of time. asked: 0 for the first, 1 for the second. frames: length of the clip."""

    frames: int
    appearances: tuple[Appearance, Appearance]
    asked: int
    grain: float
    noise: int

    @property
    def question(self) -> str:
        return f"which shape came {ORDINALS[self.asked]} ?"

    @property
    def answer(self) -> str:
        return self.appearances[self.asked].shape

    @property
    def media(self) -> Media:
        """uint8 [T, 32, 32, 3]."""
        planes = np.full((self.frames, 3, SIDE, SIDE), GREY, np.float32)
        for seen in self.appearances:
            below = planes[seen.frame, :, seen.top:seen.top + CELL, seen.left:seen.left + CELL]
            below += np.float32(seen.visibility) * mask(seen.shape, seen.size) * (INK[seen.colour] - below)
        return Media(develop(planes, self.grain, self.noise), "clip")


class Clips(View):
    """Clips of `frames` frames of 32 × 32 px with one question each, "which shape came first ?", to be answered with one of six shapes.

    split, size, seed: as in `Scenes`. world: its grain and visibility are used.
    """

    kind = "clip"
    purpose = Purpose.CLIP

    def __init__(self, split: Name = "train", size: int = 100_000, seed: int = 0, frames: int = 6, world: World | None = None) -> None:
        if frames < 2:
            raise ValueError(f"Clips: two shapes appear in two different frames, so frames is 2 or more; got {frames}")
        super().__init__(split, size, seed, world or World(visibility=(0.7, 1.0)))
        self.frames = frames

    def clip(self, index: int) -> Clip:
        """Ground truth of item `index`."""
        return draw_clip(self.world, self.law, self.frames, self.draws(index))

    def __getitem__(self, index: int) -> Sample:
        clip = self.clip(index)
        return Sample(self.name(index), (clip.media,), (Turn(f"{PLACEHOLDERS['clip']}\n{clip.question}", clip.answer, task="order"),))

    def truth(self, index: int) -> dict[str, Any]:
        clip = self.clip(index)
        return {"id": self.name(index), **asdict(clip), "question": clip.question, "answer": clip.answer}


def draw_clip(world: World, split: Split, frames: int, draws: Draws) -> Clip:
    times = sorted(draws.sample(range(frames), 2))
    first, second = (draw_appearance(world, split, time, shape, draws)
                     for time, shape in zip(times, draws.sample(SHAPES_IN_CLIPS, 2), strict=True))
    return Clip(frames, (first, second), draws.below(2), world.grain, draws.below(2**32))


def draw_appearance(world: World, split: Split, frame: int, shape: str, draws: Draws) -> Appearance:
    colour = draws.pick([colour for colour in COLOURS if (shape, colour) in split.shows])
    size = draws.below(len(RADII))
    top, left = draws.below(SIDE - CELL + 1), draws.below(SIDE - CELL + 1)
    return Appearance(frame, shape, colour, size, top, left, draws.between(*world.visibility))
