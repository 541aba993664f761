"""What is said of a picture: the caption turn, a fixed prompt and every object; and the short form that two objects and their places fit in."""
from collections.abc import Sequence
from typing import Literal

from data.world.scene import Scene, SceneObject
from data.world.vocabulary import DESCRIBE, a
from mm.sample import PLACEHOLDERS, Turn

Form = Literal["list", "relation"]


def caption_turn(scene: Scene, weight: float = 1.0, form: Form = "list") -> Turn:
    """ "describe the image ." → "there is a red star , an orange ring .", with the image before it."""
    return Turn(with_image(DESCRIBE), caption_of(scene, form), weight, task="caption")


def caption_of(scene: Scene, form: Form) -> str:
    """list: all objects in reading order. relation: see `relation`."""
    return scene.caption if form == "list" else relation(scene)


def relation(scene: Scene) -> str:
    """ "a red circle left of a blue square"; of two objects in one column, "a red circle above a blue square". ValueError unless there are two."""
    if len(scene.objects) != 2:
        raise ValueError(f"a relation is said of two objects, and the scene has {len(scene.objects)}; draw from a World(objects=(2, 2))")
    first, second = by_column(scene.objects)
    return f"{a(first.name)} {'above' if first.col == second.col else 'left of'} {a(second.name)}"


def by_column(objects: Sequence[SceneObject]) -> list[SceneObject]:
    """From left to right, and from top to bottom in one column."""
    return sorted(objects, key=lambda thing: (thing.col, thing.row))


def with_image(question: str) -> str:
    """The question behind one image placeholder."""
    return f"{PLACEHOLDERS['image']}\n{question}"
