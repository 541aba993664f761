"""Words of a caption that may name an object, without a tagger: our own reader, not AMBER's, for where no language data can be had."""
import re
from collections.abc import Callable, Container

from eval.text.singular import singular

Nouns = Callable[[str], list[str]]
WORD = re.compile(r"\w+(?:-\w+)*")


def plain_nouns(known: Container[str]) -> Nouns:
    """Reader of every word in base form: as it stands where it is known, else in lower case, else in the singular.

    Without tags a known word counts in any part of speech ("they walk"), and "Cars" counts although it begins a sentence: AMBER's own reader, which
    keeps the case, loses it.
    """

    def read(caption: str) -> list[str]:
        return [_base(word, known) for word in WORD.findall(caption)]

    return read


def _base(word: str, known: Container[str]) -> str:
    return next((form for form in (word, word.lower()) if form in known), singular(word.lower()))
