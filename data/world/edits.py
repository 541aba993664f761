"""Edit pairs: one scene before and after one object has changed colour or shape, everything else equal to the last noisy pixel."""
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data.world.caption import Form, caption_of, caption_turn
from data.world.draws import Draws, Purpose
from data.world.render import object_mask, render
from data.world.sampling import World, draw_scene
from data.world.scene import CANVAS, CELL, GRID, Scene, SceneObject
from data.world.splits import Name, Split
from data.world.view import View
from mm.sample import Media, Sample


@dataclass(frozen=True)
class Edit:
    """before, after: the scenes; their captions differ in one word, and in an article before "orange" or "arrow". index: of the object that changes.
    attribute: "colour" or "shape". form: of the captions. side: of the middle of the picture that is shown, in px."""

    before: Scene
    after: Scene
    index: int
    attribute: str
    form: Form = "list"
    side: int = CANVAS

    @property
    def captions(self) -> tuple[str, str]:
        """Before and after."""
        return caption_of(self.before, self.form), caption_of(self.after, self.form)

    @property
    def mask(self) -> np.ndarray:
        """Where the pictures may differ: coverage by the object before or after, float32 [side, side] in [0, 1]."""
        return self._shown(np.maximum(object_mask(self.before.objects[self.index]), object_mask(self.after.objects[self.index])))

    @property
    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Before and after, each uint8 [side, side, 3]."""
        return self._shown(render(self.before)), self._shown(render(self.after))

    def _shown(self, picture: np.ndarray) -> np.ndarray:
        rim = (CANVAS - self.side) // 2
        return picture[rim:CANVAS - rim, rim:CANVAS - rim]

    @property
    def words(self) -> tuple[str, str]:
        """The word of the caption that changes, before and after."""
        before, after = self.before.objects[self.index], self.after.objects[self.index]
        return (before.colour, after.colour) if self.attribute == "colour" else (before.shape, after.shape)


class Edits(View):
    """Pairs of pictures, each with its caption, as a dialogue of two turns. `edit` has the mask as well.

    split, size, seed, world: as in `Scenes`. captions: "list" names every object; "relation" says how two lie to each other, "a red circle left of
    a blue square", in a world of two objects. side: of the middle of the picture that is shown, in px; all of it by default.
    """

    kind = "edit"
    purpose = Purpose.EDIT

    def __init__(self, split: Name = "train", size: int = 20_000, seed: int = 0, world: World | None = None, captions: Form = "list",
                 side: int = CANVAS) -> None:
        super().__init__(split, size, seed, world)
        self.captions, self.side = captions, side
        seen = range((CANVAS - side) // 2, (CANVAS + side) // 2)
        hidden = [cell for cell in self.world.cells for start in (cell // GRID * CELL, cell % GRID * CELL)
                  if start not in seen or start + CELL - 1 not in seen]
        if side % 2 or not 0 < side <= CANVAS or hidden:
            raise ValueError(f"Edits: the middle {side} px of {CANVAS} do not show cells {hidden} whole; give an even side, and cells in it")
        if captions == "relation" and (self.law.objects or self.world.objects) != (2, 2):
            raise ValueError(f"Edits: relations are said of two objects; give a world with objects (2, 2) instead of {self.world.objects}, "
                             "and a split that leaves it so, or captions='list'")

    def edit(self, index: int) -> Edit:
        """Ground truth of item `index`."""
        draws = self.draws(index)
        return draw_edit(draw_scene(self.world, self.law, draws), self.world, self.law, draws, self.captions, self.side)

    def __getitem__(self, index: int) -> Sample:
        edit = self.edit(index)
        media = tuple(Media(image[None]) for image in edit.images)
        return Sample(self.name(index), media, tuple(caption_turn(scene, form=self.captions) for scene in (edit.before, edit.after)))

    def truth(self, index: int) -> dict[str, Any]:
        edit = self.edit(index)
        return {"id": self.name(index), "attribute": edit.attribute, "object": edit.index, "words": list(edit.words),
                "before": edit.before.describe(), "after": edit.after.describe()}


def draw_edit(scene: Scene, world: World, split: Split, draws: Draws, form: Form, side: int) -> Edit:
    """A change of one object to a pair that world and split may show; a new shape is one that the scene does not have. ValueError where none is."""
    index = draws.below(len(scene.objects))
    thing = scene.objects[index]
    recoloured = [replace(thing, colour=colour) for colour in world.colours
                  if colour != thing.colour and (thing.shape, colour) in world.shows(split)]
    reshaped = [replace(thing, shape=shape) for shape in world.shapes if shape not in scene.present and (shape, thing.colour) in world.shows(split)]
    possible = [name for name, choices in (("colour", recoloured), ("shape", reshaped)) if choices]
    if not possible:
        raise ValueError(f"a {thing.name} can become nothing else among {len(world.shapes)} shapes and {len(world.colours)} colours; add some")
    attribute = draws.pick(possible)
    choices: list[SceneObject] = recoloured if attribute == "colour" else reshaped
    return Edit(scene, scene.with_object(index, draws.pick(choices)), index, attribute, form, side)
