"""Which heads a method acts in, where a search has chosen some."""
from collections.abc import Sequence

import torch
from torch import Tensor

Heads = Sequence[tuple[int, int]]  # pairs (layer, head)


def check_heads(name: str, chosen: Heads | None, layers: int, heads: int) -> None:
    """ValueError for a head that a model of `layers` layers with `heads` query heads does not have."""
    for layer, head in chosen or ():
        if not (0 <= layer < layers and 0 <= head < heads):
            raise ValueError(f"{name}: head {head} of layer {layer} does not exist; the model has layers 0 to {layers - 1} "
                             f"with heads 0 to {heads - 1}; give heads that a search on this model found")


def heads_of(chosen: Heads | None, layer: int, heads: int) -> Tensor | None:
    """bool [H] of one layer; None where all are meant."""
    if chosen is None:
        return None
    mask = torch.zeros(heads, dtype=torch.bool)
    mask[[head for where, head in chosen if where == layer]] = True
    return mask
