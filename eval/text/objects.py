"""Object words of a caption, as CHAIR finds them: base forms -> double words -> synonym table."""
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from eval.text.singular import singular
from eval.text.synonyms import Synonyms
from eval.text.words import words

DOUBLE_NAMES = (
    "motor bike", "motor cycle", "air plane", "traffic light", "street light", "traffic signal", "stop light", "fire hydrant", "stop sign",
    "parking meter", "suit case", "sports ball", "baseball bat", "baseball glove", "tennis racket", "wine glass", "hot dog", "cell phone",
    "mobile phone", "teddy bear", "hair drier", "potted plant", "bow tie", "laptop computer", "stove top oven", "home plate", "train track")
ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
REPLACED: Mapping[str, str] = {  # no names of the table, and what they say
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in ANIMALS},
    "passenger jet": "jet", "passenger train": "train", "bow tie": "tie", "toilet seat": "toilet", "wine glas": "wine glass"}
NO_OBJECTS = ("home plate", "train track")  # merged on purpose, so that neither plate nor train is found in them
COCO_DOUBLES: Mapping[str, str] = {**{name: name for name in DOUBLE_NAMES}, **REPLACED}


@dataclass(frozen=True)
class Mentions:
    """words: the caption after merging, all of them: a length counts the seat of a toilet too. objects: those that name an object, in order, repeats
    included. nodes: what each of them names."""

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
        return self.of_names([name for name, _ in self._merged(base)])

    def of_names(self, names: Sequence[str]) -> Mentions:
        """Mentions of names that stay as they are, of two words or of one."""
        lifted = "toilet" in names  # "the seat of the toilet" is no chair
        found = [(name, node) for name in names if (node := self.synonyms.node(name)) is not None and not (lifted and name == "seat")]
        return Mentions(tuple(names), tuple(name for name, _ in found), tuple(node for _, node in found))

    def double_names(self, base: Sequence[str]) -> list[str]:
        """Of words in base form, those two by two that are one name, and what replaces them."""
        return [name for name, is_double in self._merged(base) if is_double]

    def _merged(self, base: Sequence[str]) -> Iterator[tuple[str, bool]]:
        """Greedily from the left; the bigram's replacement is no part of the next one."""
        i = 0
        while i < len(base):
            double = self.doubles.get(" ".join(base[i:i + 2])) if i + 1 < len(base) else None
            yield (base[i], False) if double is None else (double, True)
            i += 1 if double is None else 2


def doubles_of(synonyms: Synonyms) -> dict[str, str]:
    """Two-word names, where the table itself says which there are: all its names of several words, as RLHF-V's evaluation takes them. One of three
    words is never found."""
    return {**{name: name for name in (*synonyms.names, *NO_OBJECTS) if " " in name}, **REPLACED}


def singular_words(caption: str) -> list[str]:
    """Words of the caption, each in the singular: the text pipeline of the original CHAIR code, without any language library."""
    return [singular(word) for word in words(caption)]
