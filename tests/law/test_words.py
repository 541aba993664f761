"""What AMBER's scorer is given: similarities of words and nouns of a description."""
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from eval.text.nouns import plain_nouns
from eval.text.similarity import ExactWords, SpacyVectors, WordVectors
from eval.text.wordnet import nouns

VECTORS = {"cat": (3.0, 0.0), "kitten": (4.0, 3.0), "tv": (0.0, 2.0), "zero": (0.0, 0.0)}


def test_equal_words_alone_are_similar_without_vectors() -> None:
    of = ExactWords().load(["cat", "kitten"]).of
    assert (of("cat", "cat"), of("cat", "kitten")) == (1, 0)


@pytest.mark.parametrize("name", ["glove.txt", "word2vec.vec", "own.npz"])
def test_vectors_come_from_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    lines = [f"{word} {x} {y}" for word, (x, y) in VECTORS.items()]
    if name.endswith("npz"):
        np.savez(path, words=np.array(list(VECTORS)), vectors=np.array(list(VECTORS.values()), dtype=np.float32))
    else:
        path.write_text("\n".join([f"{len(VECTORS)} 2"] * name.startswith("word2vec") + lines) + "\n")
    of, missing = WordVectors(str(path)).load(["cat", "kitten", "TV", "zero", "whale"])
    assert of("cat", "kitten") == pytest.approx(0.8)
    assert of("TV", "cat") == 0  # through its lower case
    assert (of("whale", "whale"), of("whale", "cat"), of("zero", "cat")) == (1, 0, 0)
    assert missing == ("whale", "zero")


def test_files_that_are_no_vectors_are_named_and_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", words=np.array(["cat"], dtype=object), vectors=np.ones((1, 2)))
    (tmp_path / "text.txt").write_text("cat one two\n")
    for name in ("pickled.npz", "text.txt", "none.txt"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as word vectors"):
            WordVectors(str(tmp_path / name)).load(["cat"])
    (tmp_path / "other.txt").write_text("chat 1 2\n")
    with pytest.raises(ValueError, match="a vector of none of the 1 words"):
        WordVectors(str(tmp_path / "other.txt")).load(["cat"])


def test_spacy_is_asked_by_the_name_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a stand-in for spaCy, which tests do not need."""

    def load(model: str) -> object:
        if model != "en_core_web_lg":
            raise OSError
        return lambda word: SimpleNamespace(vector_norm=len(word) - 3, similarity=lambda other: 0.9)

    library = ModuleType("spacy")
    library.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spacy", library)
    of, missing = SpacyVectors().load(["cat", "kitten"])
    assert (of("cat", "kitten"), missing) == (0.9, ("cat",))
    with pytest.raises(RuntimeError, match="python -m spacy download en_core_web_sm"):
        SpacyVectors("en_core_web_sm").load(["cat"])
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(RuntimeError, match=r"mm-attention\[amber\]"):
        SpacyVectors().load(["cat"])


def test_plain_nouns_are_known_words_in_any_case_and_number() -> None:
    read = plain_nouns({"cat", "TV", "chopsticks", "air-conditioning", "bus"})
    assert read("Cats by the TV, an air-conditioning; chopsticks on buses. bus") == [
        "cat", "by", "the", "TV", "an", "air-conditioning", "chopsticks", "on", "bus", "bus"]


def test_tagged_nouns_keep_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a stand-in for NLTK, which tests do not need: tags by a small table."""
    library = ModuleType("nltk")
    tags = {"Cars": "NNS", "cats": "NNS", "sleep": "VBP", "Paris": "NNP"}
    parts = {"word_tokenize": str.split, "pos_tag": lambda words: [(word, tags.get(word, "IN")) for word in words],
             "stem": SimpleNamespace(WordNetLemmatizer=lambda: SimpleNamespace(lemmatize=lambda word: {"cats": "cat"}.get(word, word))),
             "data": SimpleNamespace(find=lambda place: place, path=[])}
    for name, part in parts.items():
        setattr(library, name, part)
    monkeypatch.setitem(sys.modules, "nltk", library)
    assert nouns("Cars and cats sleep in Paris") == ["Cars", "cat", "Paris"]
