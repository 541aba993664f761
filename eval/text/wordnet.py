"""Lemmas of a caption by tagger and WordNet: the text pipeline of OPERA's and CCA's CHAIR, and of AMBER.

Needs NLTK and its data on disk (extra `chair`).
"""
from typing import Any

NEEDED = ("tokenizers/punkt_tab", "taggers/averaged_perceptron_tagger_eng", "corpora/wordnet")
WITHOUT = "a reader without it (--chair.text singular, --amber.nouns words)"
WORDNET_CLASS = {"J": "a", "V": "v", "N": "n", "R": "r"}


def lemmas(caption: str) -> list[str]:
    """Lower-cased words, each lemmatised as its tag says, as a noun where the tag says nothing. Raises RuntimeError without NLTK or its data."""
    nltk = _nltk()
    lemmatiser = nltk.stem.WordNetLemmatizer()
    return [lemmatiser.lemmatize(word, WORDNET_CLASS.get(tag[:1], "n")) for word, tag in nltk.pos_tag(nltk.word_tokenize(caption.lower()))]


def nouns(caption: str) -> list[str]:
    """Lemmas of the words that are tagged as nouns, in their case, as AMBER's script takes them. Raises RuntimeError without NLTK or its data."""
    nltk = _nltk()
    lemmatiser = nltk.stem.WordNetLemmatizer()
    return [lemmatiser.lemmatize(word) for word, tag in nltk.pos_tag(nltk.word_tokenize(caption)) if tag.startswith("NN")]


def _nltk() -> Any:
    try:
        import nltk
    except ImportError as error:
        raise RuntimeError(f"tagging and lemmatising needs NLTK: pip install 'mm-attention[chair]', or use {WITHOUT}") from error
    missing = [place.split("/")[1] for place in NEEDED if not _there(nltk, place)]
    if missing:
        raise RuntimeError(
            f"NLTK has no data for {', '.join(missing)} in {', '.join(nltk.data.path[:3])}: on a machine with network run "
            f"python -m nltk.downloader {' '.join(missing)} and set NLTK_DATA, or use {WITHOUT}")
    return nltk


def _there(nltk: Any, place: str) -> bool:
    for path in (place, f"{place}.zip"):
        try:
            nltk.data.find(path)
            return True
        except LookupError:
            continue
    return False
