"""One prompt of demonstrations and a query, and what is taken from it to see what an answer owes to the pictures."""
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mm.sample import PLACEHOLDERS, Media

Control = Literal["none", "blank", "shuffled", "wordless"]
CONTROLS: tuple[Control, ...] = get_args(Control)
Reader = Callable[[], tuple[Media, ...]]


@dataclass(frozen=True)
class Prompted:
    """An episode under one control. name: of the episode, the same for all controls. known: answers that its task has. last: the answer of the last
    demonstration. media, question: as of an Item."""

    name: str
    task: str
    control: Control
    media: Reader
    question: str
    label: str
    known: tuple[str, ...]
    last: str


@dataclass(frozen=True)
class Shot:
    """A question about one or several pictures, with its answer. pictures: a reader of each."""

    pictures: tuple[Reader, ...]
    question: str
    answer: str

    def text(self, answered: bool) -> str:
        """Pictures, question and answer, as the prompt shows them. The wording is our own."""
        return f"{self.places}{self.question}\nAnswer:{f' {self.answer}' if answered else ''}"

    @property
    def places(self) -> str:
        return f"{PLACEHOLDERS['image']}\n" * len(self.pictures)


def prompted(shots: Sequence[Shot], query: Shot, control: Control, name: str, instruction: str) -> tuple[Reader, str]:
    """Media and question of an episode under a control.

    blank: demonstration pictures are black. shuffled: they stand in random order, drawn by `name`. wordless: demonstrations are pictures alone.
    """
    shown = [picture for shot in shots for picture in shot.pictures]
    if control == "blank":
        shown = [_black(picture) for picture in shown]
    elif control == "shuffled":
        shown = random.Random(name).sample(shown, len(shown))
    readers = [*shown, *query.pictures]
    told = [shot.places if control == "wordless" else f"{shot.text(True)}\n\n" for shot in shots]
    head = f"{instruction}\n" if instruction else ""
    return lambda: tuple(medium for read in readers for medium in read()), f"{head}{''.join(told)}{query.text(False)}"


def _black(picture: Reader) -> Reader:
    return lambda: tuple(Media(np.zeros_like(medium.frames), medium.kind, medium.times) for medium in picture())
