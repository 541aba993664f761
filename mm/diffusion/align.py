"""Which of the source's columns goes to which of the target's: Hertz et al., "Prompt-to-Prompt Image Editing …", ICLR 2023."""
import torch
from torch import Tensor

from mm.diffusion.prompt import Prompt, Span, comparable
from mm.diffusion.words import tokens_of_words


def replace_mapping(source: Prompt, target: Prompt) -> Tensor:
    """[K, K], rows the source's keys: words of the same place belong together. ValueError unless both prompts have as many words.

    Words of as many tokens go token by token; otherwise each of the source's tokens spreads evenly. Tokens and pads behind a word of another length
    keep their distance to the end of the text; surplus pads of the source go to the last key, so that every row sums to 1, and pads of the
    target that none is left for get nothing (all zeros): these keep their own column. The released code differs: `mm.diffusion.legacy`.
    """
    comparable((source, target))
    words = [prompt.text.split() for prompt in (source, target)]
    if len(words[0]) != len(words[1]):
        raise ValueError(f"replacing needs as many words in both prompts; {source.text!r} has {len(words[0])} and {target.text!r} has "
                         f"{len(words[1])}: use Refine, or write them word for word")
    mapping = torch.zeros(source.keys, source.keys)
    for one, other in zip(source.spans, target.spans, strict=True):
        block = mapping[one.start:one.start + one.length, one.start:one.start + one.length]
        for rows, columns in zip(_groups(one, source.text), _groups(other, target.text), strict=True):
            spread(block, rows, columns)
        first, second = len(one.ids), len(other.ids)
        for row in range(first, one.length):
            block[row, min(row - first + second, one.length - 1)] += 1
    return mapping


def spread(block: Tensor, rows: list[int], columns: list[int]) -> None:
    """One to one where there are as many, evenly otherwise."""
    if len(rows) == len(columns):
        block[rows, columns] = 1.0
    elif columns:
        block[torch.tensor(rows)[:, None], torch.tensor(columns)] = 1 / len(columns)


def _groups(span: Span, text: str) -> list[list[int]]:
    """Tokens before the text, of each word, and behind it."""
    count = len(span.ids)
    return [[*range(span.before)], *tokens_of_words(span, text), [*range(count - span.after, count)]]


def refine_alignment(source: Prompt, target: Prompt) -> Tensor:
    """[K], for each of the target's keys the source's key that it is aligned with, -1 for none.

    Needleman-Wunsch over the token ids of each encoder; pads keep their place, except where a longer source has a token: these have none.
    """
    comparable((source, target))
    aligned = torch.full((target.keys,), -1)
    for one, other in zip(source.spans, target.spans, strict=True):
        keys = [key if key < 0 else one.start + key for key in needleman_wunsch(one.ids, other.ids)]
        pads = [one.start + key if key >= len(one.ids) else -1 for key in range(len(other.ids), other.length)]
        aligned[other.start:other.start + other.length] = torch.tensor(keys + pads)
    return aligned


def needleman_wunsch(source: tuple[int, ...], target: tuple[int, ...]) -> list[int]:
    """For each token of the target the place of its equal in the source, -1 for none; gaps cost 0, equals gain 1, others cost 1.

    Of equally good ways the one with a gap in the source is taken, then a gap in the target, then a pair.
    """
    score = [[0] * (len(target) + 1) for _ in range(len(source) + 1)]
    for i, one in enumerate(source, 1):
        for j, other in enumerate(target, 1):
            score[i][j] = max(score[i][j - 1], score[i - 1][j], score[i - 1][j - 1] + (1 if one == other else -1))
    places, i, j = [-1] * len(target), len(source), len(target)
    while i and j:
        if score[i][j] == score[i][j - 1]:
            j -= 1
        elif score[i][j] == score[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            places[j] = i
    return places


def selection(aligned: Tensor) -> tuple[Tensor, Tensor]:
    """An alignment [K] as mapping [K, K] and as flags [K] of the keys that have a partner."""
    matched = aligned >= 0
    mapping = torch.zeros(len(aligned), len(aligned))
    mapping[aligned[matched], matched.nonzero()[:, 0]] = 1.0
    return mapping, matched.float()
