"""Lemmas of a caption by tagger and WordNet: the text pipeline of OPERA's and CCA's CHAIR, of AMBER, and of Object HalBench.

Needs NLTK and its data on disk (extra `chair`).
"""
from typing import Any

NEEDED = ("tokenizers/punkt_tab", "taggers/averaged_perceptron_tagger_eng", "corpora/wordnet")
WITHOUT = "a reader without it (--chair.text singular, --amber.nouns words, --object_halbench.text singular)"
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


def noun_lemmas(caption: str) -> list[str]:
    """Lower-cased words, each lemmatised as if it were a noun, without a tagger: the fallback of Object HalBench. Errors as of `lemmas`."""
    nltk = _nltk()
    lemmatiser = nltk.stem.WordNetLemmatizer()
    return [lemmatiser.lemmatize(word) for word in nltk.word_tokenize(caption.lower())]


def noun_runs(name: str) -> list[str]:
    """What a phrase names: its runs of neighbouring nouns, lemmatised, so "tennis player" for "a young tennis player". Errors as of `lemmas`.

    RLHF-V's evaluation tags with a model of spaCy; NLTK's tagger stands in for it here, so single phrases may differ.
    """
    nltk = _nltk()
    lemmatiser = nltk.stem.WordNetLemmatizer()
    runs: list[list[str]] = [[]]
    for word, tag in nltk.pos_tag(["a", *nltk.word_tokenize(name.lower())]):
        runs = [*runs[:-1], [*runs[-1], lemmatiser.lemmatize(word)]] if tag.startswith("NN") else [*runs, []]
    return [" ".join(run) for run in runs if run]


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
