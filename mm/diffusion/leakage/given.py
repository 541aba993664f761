"""Losses against given masks: Tang et al., "LocInv: Localization-aware Inversion for Text-Guided Image Editing", 2024.

Their released code was read but not run: no recorded numbers exist. Masks [N, H, W] are of 0 and 1, one a noun; that a noun may have several tokens
is ours.
"""
from torch import Tensor

from mm.diffusion.leakage.nouns import Columns, cosine, of_nouns

EMPTY = 1e-5  # what the released code adds to each pixel before it takes logarithms


def dissimilarity(maps: Tensor, nouns: Columns, masks: Tensor) -> Tensor:
    """[...]: 1 - mean cosine similarity of each noun's attention and its mask, for maps [..., H, W, K]."""
    words, masks = _fitting(maps, nouns, masks)
    return 1 - cosine(words, masks.expand_as(words)).mean(-1)


def outside(maps: Tensor, nouns: Columns, masks: Tensor) -> Tensor:
    """[...]: share of each noun's attention that falls outside its mask, mean over nouns (the paper's overlap loss)."""
    words, masks = _fitting(maps, nouns, masks)
    return 1 - ((words * masks).flatten(-2).sum(-1) / words.flatten(-2).sum(-1)).mean(-1)


def marginal_divergence(maps: Tensor, nouns: Columns, masks: Tensor) -> Tensor:
    """[...]: how far each noun's attention, summed over rows and over columns, is from its mask's: ½ (KL along x + KL along y), mean over nouns.

    Corrected, so it differs from the released code. That halves only the first of both (parentheses are missing), divides by the sum over all nouns,
    so that a noun's marginals are no distribution, and averages over pixels where a divergence sums.
    """
    words, masks = _fitting(maps, nouns, masks)
    words, masks = words + EMPTY, masks + EMPTY
    return sum((_divergence(masks.sum(side), words.sum(side)) for side in (-1, -2)), words.new_zeros(())).mean(-1) / 2


def unbound(maps: Tensor, nouns: Columns, adjectives: Columns) -> Tensor:
    """[...]: 1 - mean cosine similarity of each noun's attention and that of the adjective beside it; `adjectives` has as many as `nouns`."""
    if len(nouns) != len(adjectives):
        raise ValueError(f"{len(adjectives)} adjectives for {len(nouns)} nouns; give one each, and leave out nouns without one")
    return 1 - cosine(of_nouns(maps, nouns), of_nouns(maps, adjectives)).mean(-1)


def _fitting(maps: Tensor, nouns: Columns, masks: Tensor) -> tuple[Tensor, Tensor]:
    words = of_nouns(maps, nouns)
    if masks.shape != words.shape[-3:]:
        raise ValueError(f"masks {list(masks.shape)} for {len(nouns)} nouns; expected {list(words.shape[-3:])}, the size of the attention maps")
    if not bool(masks.flatten(1).any(1).all()):
        raise ValueError("a mask is empty at the size of the attention maps; give one of the object, or leave its noun out")
    return words, masks.to(words)


def _divergence(goal: Tensor, found: Tensor) -> Tensor:
    goal, found = goal / goal.sum(-1, keepdim=True), found / found.sum(-1, keepdim=True)
    return (goal * (goal.log() - found.log())).sum(-1)
