"""Object words of a caption, as CHAIR finds them: base forms -> double words -> synonym table."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eval.text.singular import singular
from eval.text.synonyms import Synonyms
from eval.text.words import words

DOUBLE_NAMES = (
    "motor bike", "motor cycle", "air plane", "traffic light", "street light", "traffic signal", "stop light", "fire hydrant", "stop sign",
    "parking meter", "suit case", "sports ball", "baseball bat", "baseball glove", "tennis racket", "wine glass", "hot dog", "cell phone",
    "mobile phone", "teddy bear", "hair drier", "potted plant", "bow tie", "laptop computer", "stove top oven", "home plate", "train track")
ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
COCO_DOUBLES: Mapping[str, str] = {
    **{name: name for name in DOUBLE_NAMES}, **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in ANIMALS},
    "passenger jet": "jet", "passenger train": "train", "bow tie": "tie", "toilet seat": "toilet", "wine glas": "wine glass"}


@dataclass(frozen=True)
class Mentions:
    """words: the caption after merging. objects: those that name an object, in order, repeats included. nodes: what each of them names."""

    words: tuple[str, ...]
    objects: tuple[str, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class ObjectWords:
    """Caption -> mentions.

    base_forms: caption -> words in base form: `singular_words` (original CHAIR) or `eval.text.wordnet.lemmas` (OPERA, CCA).
    doubles: two-word names and what replaces them.
    """

    synonyms: Synonyms
    base_forms: Callable[[str], Sequence[str]]
    doubles: Mapping[str, str]

    def __call__(self, caption: str) -> Mentions:
        return self.of_words(self.base_forms(caption))

    def of_words(self, base: Sequence[str]) -> Mentions:
        """Mentions of words that are already in base form."""
        merged = self._merge(base)
        if "toilet" in merged and "seat" in merged:  # "the seat of the toilet" is no chair
            merged = [word for word in merged if word != "seat"]
        found = [(word, node) for word in merged if (node := self.synonyms.node(word)) is not None]
        return Mentions(tuple(merged), tuple(word for word, _ in found), tuple(node for _, node in found))

    def _merge(self, base: Sequence[str]) -> list[str]:
        """Greedily from the left; the bigram's replacement is no part of the next one."""
        out, i = [], 0
        while i < len(base):
            double = self.doubles.get(" ".join(base[i:i + 2])) if i + 1 < len(base) else None
            out.append(base[i] if double is None else double)
            i += 1 if double is None else 2
        return out


def singular_words(caption: str) -> list[str]:
    """Words of the caption, each in the singular: the text pipeline of the original CHAIR code, without any language library."""
    return [singular(word) for word in words(caption)]
