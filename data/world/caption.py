"""The caption turn: a fixed prompt, and every object in reading order."""
from data.world.scene import Scene
from data.world.vocabulary import DESCRIBE
from mm.sample import PLACEHOLDERS, Turn


def caption_turn(scene: Scene, weight: float = 1.0) -> Turn:
    """ "describe the image ." → "there is a red star , an orange ring .", with the image before it."""
    return Turn(with_image(DESCRIBE), scene.caption, weight, task="caption")


def with_image(question: str) -> str:
    """The question behind one image placeholder."""
    return f"{PLACEHOLDERS['image']}\n{question}"
