"""Subjects: one object of a scene in a picture of its own, and the scene that it is to stand in, told in words that may leave its colour out."""
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data.world.caption import caption_turn, relation, with_image
from data.world.draws import Purpose
from data.world.render import render
from data.world.sampling import World, draw_scene
from data.world.scene import CANVAS, CELL, Scene, SceneObject
from data.world.splits import Name
from data.world.view import View
from data.world.vocabulary import DESCRIBE, a
from mm.sample import Media, Sample, Turn

MARGIN = 4  # px around the object's cell


@dataclass(frozen=True)
class Subject:
    """scene, index: of the object. said: whether the caption tells its colour. side: of the middle of the scene that is shown, in px."""

    scene: Scene
    index: int
    said: bool
    side: int = CANVAS

    @property
    def thing(self) -> SceneObject:
        return self.scene.objects[self.index]

    @property
    def caption(self) -> str:
        """ "a circle left of a blue square" of a red circle whose colour is not said."""
        whole = relation(self.scene)
        return whole if self.said else whole.replace(a(self.thing.name), a(self.thing.shape))

    @property
    def reference(self) -> np.ndarray:
        """The object alone on the scene's background, uint8 [24, 24, 3]."""
        alone = render(replace(self.scene, objects=(self.thing,)))
        top, left = (min(max(place * CELL + shift - MARGIN, 0), CANVAS - CELL - 2 * MARGIN)
                     for place, shift in zip((self.thing.row, self.thing.col), self.thing.shift, strict=True))
        return alone[top:top + CELL + 2 * MARGIN, left:left + CELL + 2 * MARGIN]

    @property
    def image(self) -> np.ndarray:
        """uint8 [side, side, 3]."""
        rim = (CANVAS - self.side) // 2
        return render(self.scene)[rim:CANVAS - rim, rim:CANVAS - rim]


class Subjects(View):
    """A reference picture, named by the object's shape, and a scene of two objects with a caption, as a dialogue of two turns.

    split, size, seed, world: as in `Scenes`; the world has two objects. unsaid: share of captions that leave the subject's colour out, which only the
    reference then tells. side: of the middle of the scene that is shown, in px.
    """

    kind = "subject"
    purpose = Purpose.SUBJECT

    def __init__(self, split: Name = "train", size: int = 20_000, seed: int = 0, world: World | None = None, unsaid: float = 0.5,
                 side: int = CANVAS) -> None:
        super().__init__(split, size, seed, world)
        self.unsaid, self.side = unsaid, side
        if not 0 <= unsaid <= 1 or side % 2 or not 0 < side <= CANVAS:
            raise ValueError(f"Subjects: unsaid {unsaid} and side {side}; expected a share, and an even side of up to {CANVAS} px")
        if (self.law.objects or self.world.objects) != (2, 2):
            raise ValueError(f"Subjects: captions are of two objects; give a world with objects (2, 2) instead of {self.world.objects}, and a split "
                             "that leaves it so")

    def subject(self, index: int) -> Subject:
        """Ground truth of item `index`."""
        draws = self.draws(index)
        scene = draw_scene(self.world, self.law, draws)
        return Subject(scene, draws.below(2), draws.unit() >= self.unsaid, self.side)

    def __getitem__(self, index: int) -> Sample:
        subject = self.subject(index)
        named = Turn(with_image(DESCRIBE), subject.thing.shape, task="subject")
        shown = replace(caption_turn(subject.scene), answer=subject.caption)
        return Sample(self.name(index), (Media(subject.reference[None]), Media(subject.image[None])), (named, shown))

    def truth(self, index: int) -> dict[str, Any]:
        subject = self.subject(index)
        return {"id": self.name(index), "object": subject.index, "said": subject.said, "caption": subject.caption, **subject.scene.describe()}
