"""How similar two words are: injected, because the numbers that rest on it change with the source.

AMBER's script takes the cosine of spaCy's en_core_web_lg, and says that words above 0.8 are the same. With other vectors, or none, its generative
metrics are other metrics of the same name.
"""
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Compared(NamedTuple):
    """of: similarity of two words, 1 for equal ones. missing: words about which the source knows nothing; they are similar to no other."""

    of: Callable[[str, str], float]
    missing: tuple[str, ...] = ()


class Similarity(ABC):
    """A source of word similarities."""

    @abstractmethod
    def load(self, words: Collection[str]) -> Compared:
        """Similarities of these words, the only ones that will be compared. Raises ValueError or RuntimeError where the source cannot be read."""


class ExactWords(Similarity):
    """Nothing but equal words is similar. Needs no download; not what AMBER's script computes."""

    def load(self, words: Collection[str]) -> Compared:
        return Compared(lambda first, second: float(first == second))


class WordVectors(Similarity):
    """Cosine of vectors of a file.

    Args:
        file: text with a word and its numbers a line (GloVe, word2vec, fastText; a first line with the counts is skipped), or .npz with `words` [N]
            and `vectors` [N, D]. Nothing is unpickled. A word that is there in lower case only takes that vector.
    """

    def __init__(self, file: str) -> None:
        self.file = file

    def load(self, words: Collection[str]) -> Compared:
        wanted = set(words) | {word.lower() for word in words}
        path = Path(self.file)
        try:
            found = dict(_of_arrays(path, wanted) if path.suffix == ".npz" else _of_lines(path, wanted))
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{path} cannot be read as word vectors ({error}); expected lines 'word 0.1 0.2 ...', or .npz with words and "
                             "vectors") from error
        unit = {word: vector / length for word, vector in found.items() if (length := float(np.linalg.norm(vector)))}
        if not unit:
            raise ValueError(f"{path} has a vector of none of the {len(words)} words of the vocabulary; are its words English and parted by blanks?")
        own = {word: unit.get(word, unit.get(word.lower())) for word in words}

        def cosine(first: str, second: str) -> float:
            one, other = own.get(first), own.get(second)
            return 1.0 if first == second else 0.0 if one is None or other is None else float(one @ other)

        return Compared(cosine, tuple(sorted(word for word, vector in own.items() if vector is None)))


class SpacyVectors(Similarity):
    """Cosine of a spaCy model, as AMBER's script takes it (read there, not run here: the model is not part of spaCy's package).

    Args:
        model: installed package, the script's by default. Small models have no vectors of words, so they give other numbers.
    """

    def __init__(self, model: str = "en_core_web_lg") -> None:
        self.model = model

    def load(self, words: Collection[str]) -> Compared:
        try:
            import spacy
        except ImportError as error:
            raise RuntimeError("word similarity by spaCy needs spaCy: pip install 'mm-attention[amber]', or give vectors of a file "
                               "(eval.text.similarity.WordVectors)") from error
        try:
            read = spacy.load(self.model)
        except OSError as error:
            raise RuntimeError(f"spaCy has no model {self.model} here: on a machine with network run python -m spacy download {self.model}, or give "
                               "vectors of a file (eval.text.similarity.WordVectors)") from error
        own: dict[str, Any] = {word: read(word) for word in words}
        missing = sorted(word for word, read_word in own.items() if not read_word.vector_norm)
        return Compared(lambda first, second: float(own[first].similarity(own[second])), tuple(missing))


def _of_lines(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, np.ndarray]]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            word, _, numbers = line.rstrip().partition(" ")
            if word in wanted and len(values := numbers.split()) > 1:
                yield word, np.array(values, dtype=np.float64)


def _of_arrays(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as arrays:
        words, vectors = arrays["words"], arrays["vectors"]
    for word, vector in zip(words.tolist(), vectors, strict=True):
        if word in wanted:
            yield word, np.asarray(vector, dtype=np.float64)
