"""Prompt-to-Prompt's words as the released code has them (Hertz et al., ICLR 2023), faults included; for parity with published results only."""
import torch
from torch import Tensor

from mm.diffusion.align import refine_alignment, spread
from mm.diffusion.prompt import Prompt, Span, comparable
from mm.diffusion.words import Word


def word_tokens(span: Span, text: str, word: Word) -> list[int]:
    """Tokens of a word in a span; [] for a word that is not there. Words are what stands between single blanks, punctuation included, so that
    "cat" is not in "a cat, a dog", and a second blank shifts all words behind it.
    """
    words = text.split(" ")
    places = {word} if isinstance(word, int) else {place for place, name in enumerate(words) if name == word}
    tokens, place, length = [], 0, 0
    for index, piece in enumerate(span.pieces[span.before:len(span.pieces) - span.after]):
        length += len(piece.strip("#"))
        tokens += [span.before + index] if place in places else []
        if place < len(words) and length >= len(words[place]):
            place, length = place + 1, 0
    return tokens


def replace_mapping(source: Prompt, target: Prompt) -> Tensor:
    """As `mm.diffusion.align.replace_mapping`, but behind the last word that changes each column comes from the column of the same place, however
    many tokens the words have: later words are taken for one another, and rows need not sum to 1.
    """
    comparable((source, target))
    words = [prompt.text.split(" ") for prompt in (source, target)]
    if len(words[0]) != len(words[1]):
        raise ValueError(f"replacing needs as many words in both prompts, and single blanks; {source.text!r} has {len(words[0])} and "
                         f"{target.text!r} has {len(words[1])}")
    changed = [place for place, (one, other) in enumerate(zip(*words, strict=True)) if one != other]
    mapping = torch.zeros(source.keys, source.keys)
    for one, other in zip(source.spans, target.spans, strict=True):
        pairs = [(word_tokens(one, source.text, place), word_tokens(other, target.text, place)) for place in changed]
        lost = [words[0][place] for place, (rows, columns) in zip(changed, pairs, strict=True) if not rows or not columns]
        if lost:
            raise ValueError(f"no tokens were found for {lost} of {source.text!r}; single blanks only, or leave legacy out")
        block = mapping[one.start:one.start + one.length, one.start:one.start + one.length]
        i = j = 0
        while i < one.length and j < one.length:
            if pairs and i == pairs[0][0][0]:
                rows, columns = pairs.pop(0)
                spread(block, rows, columns)
                i, j = i + len(rows), j + len(columns)
            else:
                block[i if pairs else j, j] = 1.0
                i, j = i + 1, j + 1
    return mapping


def refine_alignment_of_pads(source: Prompt, target: Prompt) -> Tensor:
    """As `mm.diffusion.align.refine_alignment`, but all pads take the column of the same place, of words of a longer source too."""
    aligned = refine_alignment(source, target)
    for span in target.spans:
        pads = torch.arange(span.start + len(span.ids), span.start + span.length)
        aligned[pads] = pads
    return aligned
