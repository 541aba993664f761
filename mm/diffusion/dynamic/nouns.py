"""Which words of a caption are its nouns: given by the user, or found by a tagger."""
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

Tagger: TypeAlias = Callable[[str], Iterable[tuple[str, str]]]
"""A text → its words and their parts of speech, as Penn Treebank tags (NN, NNS, NNP, NNPS for nouns)."""


class Nouns(Protocol):
    """What is asked for the nouns of a caption, in its order, each once."""

    def __call__(self, text: str) -> tuple[str, ...]:
        """ValueError where it finds none."""


class Given:
    """Words that the user names; they must be in the prompt, which is looked at when their keys are."""

    def __init__(self, words: Sequence[str]) -> None:
        if isinstance(words, str) or not words:
            raise ValueError(f"nouns are {words!r}; give a list of at least one word")
        self.words = tuple(words)

    def __call__(self, text: str) -> tuple[str, ...]:
        return self.words


class Tagged:
    """Words with a noun's tag. Punctuation belongs to no word here (the released code splits at blanks, and loses "dog,")."""

    def __init__(self, tagger: Tagger) -> None:
        self.tagger = tagger

    def __call__(self, text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(word for word, tag in self.tagger(text) if tag.startswith("NN")))
        if not found:
            raise ValueError(f"no nouns were found in {text!r}; name them yourself with Given([...])")
        return found


def spacy_tagger(model: str = "en_core_web_sm") -> Tagger:
    """A pipeline of spaCy that is on disk. ImportError where spaCy is not installed, OSError where the model is not."""
    try:
        import spacy
    except ImportError as missing:
        raise ImportError("spaCy is not installed: pip install 'mm-attention[amber]', or name the nouns yourself with Given([...])") from missing
    pipeline = spacy.load(model)
    return lambda text: [(token.text, token.tag_) for token in pipeline(text)]


def nltk_tagger() -> Tagger:
    """NLTK's tokeniser and tagger. ImportError where NLTK is not installed, LookupError where its data is not."""
    try:
        import nltk
    except ImportError as missing:
        raise ImportError("NLTK is not installed: pip install 'mm-attention[chair]', or name the nouns yourself with Given([...])") from missing
    return lambda text: nltk.pos_tag(nltk.word_tokenize(text))
