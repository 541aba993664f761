"""ZeroTuning: Han et al., "ZeroTuning: Unlocking the Initial Token's Power to Enhance Large Language Models Without Training", 2025.

The first token takes mass that means nothing. Scaling its weight before normalisation flattens (up) or sharpens (down) what a head gives to all
others.
"""
from math import log

import torch
from torch import Tensor

from mm.reweight.base import Reweight
from mm.reweight.heads import Heads, check_heads, heads_of
from mm.tokens import TokenMap

OTHER, SPAN = range(2)


class ZeroTuning(Reweight):
    """Scale the attention to the first token, or a span of tokens, and renormalise.

    Args:
        gamma: factor on the weights of the span; above 1 the others lose mass and their differences flatten, below 1 they sharpen.
        heads: pairs (layer, head) in which to act, from a search; None for all heads.
        span: tokens of each document, counted along its own path, first and past the last.
        first_layer, last_layer: inclusive, negative ones from the end. The paper acts in all; early layers matter most.

    The same as adding log(gamma) to the scores of the span. The released code copies the whole attention tensor, and calls a class by a name that it
    does not define.
    """

    group_count = 2
    shares_rows = True
    group_names = ("rest", "span")

    def __init__(self, gamma: float, heads: Heads | None = None, span: tuple[int, int] = (0, 1), first_layer: int = 0, last_layer: int = -1) -> None:
        if not gamma > 0.0:
            raise ValueError(f"ZeroTuning: gamma multiplies weights, so it is above 0; got {gamma}. To hide tokens, use a mask")
        if not 0 <= span[0] < span[1]:
            raise ValueError(f"ZeroTuning: span is (first, past the last) token of a document; got {tuple(span)}")
        self.gamma = gamma
        self.heads = heads
        self.span = span
        self.first_layer = first_layer
        self.last_layer = last_layer

    @property
    def is_neutral(self) -> bool:
        return self.gamma == 1.0

    def bind(self, layers: int, heads: int) -> None:
        check_heads("ZeroTuning", self.heads, layers, heads)
        super().bind(layers, heads)

    def applies(self, layer: int) -> bool:
        return super().applies(layer) and (self.heads is None or any(layer == where for where, _ in self.heads))

    def head_mask(self, layer: int, heads: int) -> Tensor | None:
        return heads_of(self.heads, layer, heads)

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        inside = tokens.is_real & (tokens.depth >= self.span[0]) & (tokens.depth < self.span[1])
        return torch.where(inside, SPAN, OTHER)

    def log_weights(self) -> Tensor:
        """[G], added to scores: the same rule before the softmax."""
        return torch.tensor([0.0, log(self.gamma)], dtype=torch.float64)

    def weights(self, mass: Tensor, size: Tensor) -> Tensor:
        total = 1.0 + (self.gamma - 1.0) * mass[SPAN]
        return torch.stack([1.0 / total, self.gamma / total])
