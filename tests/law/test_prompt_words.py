"""Words are found whatever cuts them, and a word that cannot be found is named."""
import pytest

from mm.diffusion import legacy
from mm.diffusion.prompt import Prompt, Span
from mm.diffusion.tokenise import tokenized_by
from mm.diffusion.words import all_keys, as_words, keys_if_any, tokens_of_words, word_keys
from tests.prompts import clip, gemma, prompt, qwen, t5

TEXT = "a chinchilla, a  dog (and Cat's \"chinchilla\")"


def read(text: str) -> Prompt:
    return tokenized_by(clip(), [text])[0]


def spelling(found: Prompt, word: str | int) -> str:
    pieces = {span.start + place: piece for span in found.spans for place, piece in enumerate(span.pieces)}
    return "|".join(pieces[key] for key in word_keys(found, word))


def test_t2_words_are_found_beside_punctuation_and_double_blanks() -> None:
    found = read("a cat, a  dog")
    assert [spelling(found, word) for word in ("cat", "cat,", "dog", "a", "DOG", 1, 3)] == ["cat", "cat", "dog", "a|a", "dog", "cat", "dog"]
    assert legacy.word_tokens(found.spans[0], found.text, "cat") == []
    assert legacy.word_tokens(found.spans[0], found.text, "dog") == []  # the second blank counts as a word
    with pytest.raises(ValueError, match="no tokens were found"):
        legacy.replace_mapping(found, read("a cat, a  fox"))


def test_all_occurrences_and_words_in_a_row() -> None:
    found = read(TEXT)
    assert spelling(found, "chinchilla") == "chin|ch|illa|chin|ch|illa"
    assert spelling(found, "a dog") == "a|dog"
    assert spelling(found, "cat's") == "Cat|'s"
    assert all_keys(found, ["dog", 0]) == (1, *word_keys(found, "dog"))
    assert (as_words("teddy bear"), as_words(3), as_words(["a", 1])) == (("teddy bear",), (3,), ("a", 1))


@pytest.mark.parametrize("name", ["clip", "t5", "gemma", "qwen"])
def test_every_token_belongs_to_one_word_in_every_tokeniser(name: str) -> None:
    words = ["a", "red", "dog"]
    tokeniser = {"clip": clip, "t5": lambda: t5(words), "gemma": lambda: gemma(words), "qwen": lambda: qwen(words)}[name]()
    text = "a  red, unréd 😀 dog …  "
    found = tokenized_by(tokeniser, [text], 60)[0]
    span = found.spans[0]
    owned = tokens_of_words(span, text)
    assert [token for tokens in owned for token in tokens] == list(range(span.before, len(span.ids) - span.after))
    assert ["".join(span.pieces[token] for token in tokens) for tokens in owned] == text.split()
    assert [spelling(found, word).replace("|", "") for word in ("red", "unréd", "😀", "dog", "…")] == ["red", "unréd", "😀", "dog", "…"]


def test_both_tokenisations_of_sd3_are_found() -> None:
    first, second = read("a red dog").spans[0], tokenized_by(t5(["a", "red"]), ["a red dog"], 20)[0].spans[0]
    found = Prompt("a red dog", (first, Span(77, 20, second.ids, second.pieces, 0, 1)))
    assert word_keys(found, "red") == (2, 78)
    assert spelling(found, "dog") == "dog||d|o|g"  # a lone mark of a word's start goes with the word
    without = Prompt("a red dog", (first, Span(77, 20, (), (), 0, 0)))
    assert word_keys(without, "red") == (2,)


def test_a_word_that_is_not_there_is_named() -> None:
    found = read("a photo of a chinchilla")
    with pytest.raises(ValueError, match="has no word 'chinchila'; did you mean 'chinchilla'"):
        word_keys(found, "chinchila")
    with pytest.raises(ValueError, match="has no word 'xyz'; name one that it has"):
        word_keys(found, "xyz")
    for place in (5, -1):
        with pytest.raises(ValueError, match=f"has 5 words; {place} is no place among them"):
            word_keys(found, place)
    assert keys_if_any(found, "xyz") == keys_if_any(found, "") == ()


def test_a_word_beyond_the_tokens_is_named() -> None:
    cut = prompt("a red dog", [0, 1, 2, 9], ["<s>", "a", "red", "</s>"], 4)
    assert word_keys(cut, "red") == (2,)
    with pytest.raises(ValueError, match="'dog' of 'a red dog' lies beyond the 4 tokens"):
        word_keys(cut, "dog")


def test_tokens_that_spell_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match="the tokens of 'a red dog' spell 'aunkdog'"):
        word_keys(prompt("a red dog", [0, 1, 2, 3, 9], ["<s>", "a", "unk", "dog", "</s>"]), "dog")
