"""Nouns of a caption: given, or tagged by libraries that are optional, which are played here."""
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from mm.diffusion.dynamic.nouns import Given, Tagged, Tagger, nltk_tagger, spacy_tagger

TAGS = {"a": "DT", "cat": "NN", "dogs": "NNS", ",": ",", "and": "CC", "red": "JJ", "sits": "VBZ"}


def split(text: str) -> list[str]:
    return text.replace(",", " ,").split()


def tag(text: str) -> list[tuple[str, str]]:
    return [(word, TAGS[word]) for word in split(text)]


def test_given_nouns_are_as_given() -> None:
    assert Given(["dog", "cat"])("a cat") == ("dog", "cat")


def test_trap_tagged_nouns_come_once_in_order_and_without_punctuation() -> None:
    assert Tagged(tag)("a cat, red dogs and a cat") == ("cat", "dogs")


def test_spacy_and_nltk_are_asked_as_they_want_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(model: str) -> Callable[[str], list[SimpleNamespace]]:
        asked.append(model)
        return lambda text: [SimpleNamespace(text=word, tag_=TAGS[word]) for word in split(text)]

    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=load))
    monkeypatch.setitem(sys.modules, "nltk", SimpleNamespace(pos_tag=lambda words: [(word, TAGS[word]) for word in words], word_tokenize=split))
    assert Tagged(spacy_tagger("mine"))("a cat sits") == ("cat",)
    assert asked == ["mine"]
    assert Tagged(nltk_tagger())("a cat sits") == ("cat",)


@pytest.mark.parametrize(("library", "tagger"), [("spacy", spacy_tagger), ("nltk", nltk_tagger)], ids=["spacy", "nltk"])
def test_a_library_that_is_missing_is_named_with_the_way_out(library: str, tagger: Callable[[], Tagger], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match="name the nouns yourself"):
        tagger()


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="no nouns were found in 'a red'"):
        Tagged(tag)("a red")
    with pytest.raises(ValueError, match="list of at least one word"):
        Given("cat")
