"""Whose heat maps are of interest: the words in which the captions differ, those that the user names, and, to be pointed at, all the others."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mm.diffusion.changed import changed_words
from mm.diffusion.words import spoken


@dataclass(frozen=True)
class Words:
    """shown: in figures and files. all: those, and every other word of either caption. Without capitals and punctuation around them."""

    shown: tuple[str, ...]
    all: tuple[str, ...]


@dataclass(frozen=True)
class Spoken:
    """A word of a caption. text: as it stands there. name: as its map is called, "" where it has none. is_changed: the other caption has it not."""

    text: str
    name: str
    is_changed: bool


def words(prompt: str, to: str, named: Sequence[str]) -> Words:
    source, target = spoken(prompt), spoken(to)
    ours, theirs = changed_words(prompt, to)
    shown = _once([*(source[place] for place in ours), *(target[place] for place in theirs), *(" ".join(spoken(word)) or word for word in named)])
    return Words(shown, _once([*shown, *source, *target]))


def caption(text: str, other: str) -> list[Spoken]:
    """The words of one caption, beside the other."""
    changed = changed_words(text, other)[0]
    return [Spoken(word, name if _sounds(name) else "", place in changed)
            for place, (word, name) in enumerate(zip(text.split(), spoken(text), strict=True))]


def has(text: str, name: str) -> bool:
    """Whether a caption has the word, or the words in a row."""
    wanted, names = name.split(), spoken(text)
    return any(names[first:first + len(wanted)] == wanted for first in range(len(names)))


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if _sounds(name)))


def _sounds(name: str) -> bool:
    """Not a mere dash."""
    return any(sign.isalnum() for sign in name)
