"""Edit pairs: one scene before and after one object has changed colour or shape, everything else equal to the last noisy pixel."""
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data.world.caption import caption_turn
from data.world.draws import Draws, Purpose
from data.world.render import object_mask, render
from data.world.sampling import World, draw_scene
from data.world.scene import Scene, SceneObject
from data.world.splits import Name, Split
from data.world.view import View
from data.world.vocabulary import COLOURS, SHAPES
from mm.sample import Media, Sample


@dataclass(frozen=True)
class Edit:
    """before, after: the scenes; their captions differ in one word. index: of the object that changes. attribute: "colour" or "shape"."""

    before: Scene
    after: Scene
    index: int
    attribute: str

    @property
    def mask(self) -> np.ndarray:
        """Where the pictures may differ: coverage by the object before or after, float32 [64, 64] in [0, 1]."""
        return np.maximum(object_mask(self.before.objects[self.index]), object_mask(self.after.objects[self.index]))

    @property
    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Before and after, each uint8 [64, 64, 3]."""
        return render(self.before), render(self.after)

    @property
    def words(self) -> tuple[str, str]:
        """The word of the caption that changes, before and after."""
        before, after = self.before.objects[self.index], self.after.objects[self.index]
        return (before.colour, after.colour) if self.attribute == "colour" else (before.shape, after.shape)


class Edits(View):
    """Pairs of pictures, each with its caption, as a dialogue of two turns. `edit` has the mask as well.

    split, size, seed, world: as in `Scenes`.
    """

    kind = "edit"
    purpose = Purpose.EDIT

    def __init__(self, split: Name = "train", size: int = 20_000, seed: int = 0, world: World | None = None) -> None:
        super().__init__(split, size, seed, world)

    def edit(self, index: int) -> Edit:
        """Ground truth of item `index`."""
        draws = self.draws(index)
        return draw_edit(draw_scene(self.world, self.law, draws), self.law, draws)

    def __getitem__(self, index: int) -> Sample:
        edit = self.edit(index)
        media = tuple(Media(image[None]) for image in edit.images)
        return Sample(self.name(index), media, (caption_turn(edit.before), caption_turn(edit.after)))

    def truth(self, index: int) -> dict[str, Any]:
        edit = self.edit(index)
        return {"id": self.name(index), "attribute": edit.attribute, "object": edit.index, "words": list(edit.words),
                "before": edit.before.describe(), "after": edit.after.describe()}


def draw_edit(scene: Scene, split: Split, draws: Draws) -> Edit:
    """A change of one object to a pair that the split may show; a new shape is one that the scene does not have."""
    index = draws.below(len(scene.objects))
    thing = scene.objects[index]
    recoloured = [replace(thing, colour=colour) for colour in COLOURS if colour != thing.colour and (thing.shape, colour) in split.shows]
    reshaped = [replace(thing, shape=shape) for shape in SHAPES if shape not in scene.present and (shape, thing.colour) in split.shows]
    attribute = draws.pick([name for name, choices in (("colour", recoloured), ("shape", reshaped)) if choices])
    choices: list[SceneObject] = recoloured if attribute == "colour" else reshaped
    return Edit(scene, scene.with_object(index, draws.pick(choices)), index, attribute)
