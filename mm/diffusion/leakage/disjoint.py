"""Disjoint object attention: Wang et al., "Dynamic Prompt Learning: Addressing Cross-Attention Leakage for Text-Based Image Editing", NeurIPS 2023.

An object's word shall not look where another object's word looks.
"""
from itertools import combinations

import torch
from torch import Tensor

from mm.diffusion.leakage.nouns import Columns, cosine, of_nouns


def disjoint(maps: Tensor, nouns: Columns) -> Tensor:
    """[...]: mean cosine similarity of two nouns' attention, over all pairs, for maps [..., H, W, K].

    0 for a single noun, which overlaps with none (the original's mean over no pairs is NaN).
    """
    words = of_nouns(maps, nouns)
    pairs = [cosine(words[..., one, :, :], words[..., other, :, :]) for one, other in combinations(range(len(nouns)), 2)]
    return torch.stack(pairs, -1).mean(-1) if pairs else words.flatten(-3).sum(-1) * 0  # a zero with a gradient, of zeros
