"""A noun among the columns of attention maps."""
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Columns: TypeAlias = Sequence[Sequence[int]]
"""For each noun, the keys of its tokens on the maps' last axis."""


def of_nouns(maps: Tensor, nouns: Columns) -> Tensor:
    """[..., N, H, W] of maps [..., H, W, K]: how much attention each of N nouns gets at a pixel. A noun of several tokens gets what all of them get.

    In float32 at least. ValueError for a noun without tokens or beyond the keys.
    """
    keys = maps.shape[-1]
    for index, tokens in enumerate(nouns):
        if not tokens or not all(0 <= token < keys for token in tokens):
            raise ValueError(f"noun {index} has the tokens {list(tokens)}; expected one or more of the {keys} keys of the maps")
    if not nouns:
        raise ValueError("no nouns; name at least one whose attention counts")
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    return torch.stack([maps[..., list(tokens)].sum(-1) for tokens in nouns], -3)


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """[...]: cosine similarity of maps [..., H, W], as flat vectors."""
    return torch.cosine_similarity(one.flatten(-2), other.flatten(-2), dim=-1)
