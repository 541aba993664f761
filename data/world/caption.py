"""What is said of a picture: the caption turn, a fixed prompt and every object; and the short form that two objects and their places fit in."""
from typing import Literal

from data.world.scene import Scene
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
    by_column = sorted(scene.objects, key=lambda thing: (thing.col, thing.row))
    word = "above" if by_column[0].col == by_column[1].col else "left of"
    return f"{a(by_column[0].name)} {word} {a(by_column[1].name)}"


def with_image(question: str) -> str:
    """The question behind one image placeholder."""
    return f"{PLACEHOLDERS['image']}\n{question}"
