"""What is asked of an editor."""
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Request:
    """prompt, to: source and target caption. image: the picture to edit, None for one that the model draws from `prompt`. seed: of the noise, where
    there is no picture. words: of either caption, whose heat maps are wanted. blend: where a recipe's local blend that names no words lets the edit
    through: a word of the source and one of the target, nothing for no local blend, None for the words in which the captions differ. nouns: of the
    source, which a recipe learns that learns words; () for those that its tagger finds.
    """

    prompt: str
    to: str
    image: Image.Image | None = None
    seed: int = 0
    words: tuple[str, ...] = ()
    blend: tuple[str, ...] | None = None
    nouns: tuple[str, ...] = ()
