"""Which keys a word of the prompt has, in every text encoder that reads it."""
from collections.abc import Sequence
from difflib import get_close_matches
from unicodedata import category

from mm.diffusion.prompt import Prompt, Span

Word = str | int


def word_keys(prompt: Prompt, word: Word) -> tuple[int, ...]:
    """Keys of the word on the whole key axis, of all its occurrences; of several words in a row ("teddy bear") those of all of them.

    word: compared without punctuation around it and without regard to capitals; a number is a place among the words of the prompt, 0 the first.
    ValueError for a word that the prompt does not have, or that lies beyond the tokens which an encoder reads.
    """
    found = keys_if_any(prompt, word)
    if not found:
        names = [_core(name)[1] for name in prompt.text.split()]
        if isinstance(word, int):
            raise ValueError(f"{prompt.text!r} has {len(names)} words; {word} is no place among them, counted from 0")
        near = get_close_matches(word, names, n=3)
        advice = f"did you mean {' or '.join(map(repr, near))}?" if near else "name one that it has"
        raise ValueError(f"{prompt.text!r} has no word {word!r}; {advice}")
    return found


def keys_if_any(prompt: Prompt, word: Word) -> tuple[int, ...]:
    """As `word_keys`, and nothing where the prompt does not have the word."""
    keys: list[int] = []
    for start, end in _occurrences(prompt.text, word):
        for span in prompt.spans:
            places = letters(span, prompt.text)
            if places and max(place[1] for place in places) < end:
                raise ValueError(f"word {word!r} of {prompt.text!r} lies beyond the {span.length} tokens that the encoder reads; move it forward")
            keys += [span.start + span.before + index for index, (first, last) in enumerate(places)
                     if first < end and (last > start or first >= start)]
    return tuple(sorted(set(keys)))


def all_keys(prompt: Prompt, words: Sequence[Word]) -> tuple[int, ...]:
    """Keys of all these words, each of which the prompt has to have."""
    return tuple(sorted({key for word in words for key in word_keys(prompt, word)}))


def as_words(words: Word | Sequence[Word]) -> tuple[Word, ...]:
    """A single word is a list of one."""
    return (words,) if isinstance(words, str | int) else tuple(words)


def spoken(text: str) -> list[str]:
    """Its words as they are compared: without punctuation around them and without capitals."""
    return [_core(word)[1].casefold() for word in text.split()]


def tokens_of_words(span: Span, text: str) -> list[list[int]]:
    """For each word, punctuation included, its tokens in the span, every token of the text once; a token over two words is the first one's."""
    ends = [end for _, end in _words(text)]
    tokens: list[list[int]] = [[] for _ in ends]
    for index, (first, _) in enumerate(letters(span, text)):
        if ends:
            tokens[min(sum(end <= first for end in ends), len(ends) - 1)].append(span.before + index)
    return tokens


def letters(span: Span, text: str) -> list[tuple[int, int]]:
    """For each token of the text itself, its letters as places in the text without blanks. An empty piece stands before the letter it belongs to."""
    places, end = [], 0
    for piece in span.pieces[span.before:len(span.pieces) - span.after]:
        places.append((end, end + len(piece)))
        end += len(piece)
    spelled = "".join(span.pieces[span.before:len(span.pieces) - span.after])
    if not "".join(text.split()).casefold().startswith(spelled.casefold()):
        raise ValueError(f"the tokens of {text!r} spell {spelled!r}, so its words have no place among them; write the prompt as the encoder reads it")
    return places


def _words(text: str) -> list[tuple[int, int]]:
    places, end = [], 0
    for word in text.split():
        places.append((end, end + len(word)))
        end += len(word)
    return places


def _core(word: str) -> tuple[int, str]:
    """The word without punctuation around it and where it starts; all of it if it is nothing else."""
    inner = [index for index, sign in enumerate(word) if not category(sign).startswith("P")]
    return (inner[0], word[inner[0]:inner[-1] + 1]) if inner else (0, word)


def _occurrences(text: str, word: Word) -> list[tuple[int, int]]:
    """Places in the text without blanks."""
    words = text.split()
    cores, places = [_core(name) for name in words], _words(text)
    if isinstance(word, int):
        runs = [(word, word)] if 0 <= word < len(words) else []
    else:
        wanted, names = spoken(word), spoken(text)
        runs = [(first, first + len(wanted) - 1) for first in range(len(names)) if wanted and names[first:first + len(wanted)] == wanted]
    return [(places[first][0] + cores[first][0], places[last][0] + cores[last][0] + len(cores[last][1])) for first, last in runs]
