"""How the attention weights of layers become one answer to "where did this token look".

A reading names the rows it needs, gets their weights averaged over heads, and combines layers. It never needs the rows of visual tokens, of which
there are many: cost and memory are O(text x N) at most.
"""
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from mm.tokens import Kind, TokenMap


class Reading(ABC):
    """layers: which layers count, negative ones from the last; all if None."""

    def __init__(self, layers: Sequence[int] | None = None) -> None:
        self.layers = None if layers is None else tuple(layers)

    def chosen(self, weights: Tensor) -> Tensor:
        """The layers that count, [L', R, N] of [L, R, N]. ValueError for a layer that the model does not have."""
        if self.layers is None:
            return weights
        if wrong := [layer for layer in self.layers if not -len(weights) <= layer < len(weights)]:
            raise ValueError(f"{type(self).__name__} asks for layer {wrong[0]}, and the model has layers 0 to {len(weights) - 1}")
        return weights[sorted(layer % len(weights) for layer in self.layers)]

    @abstractmethod
    def rows(self, tokens: TokenMap, asked: Tensor) -> Tensor:
        """Rows whose weights are needed, [R], of one sample [1, N], to read the rows `asked` [A]; ascending, `asked` among them."""

    @abstractmethod
    def read(self, weights: Tensor, rows: Tensor, asked: Tensor) -> Tensor:
        """weights: [L, R, N] of the rows `rows` [R]. Where the rows `asked` [A] looked, [A, N]; each sums to at most one."""


class Direct(Reading):
    """The mean over layers and heads of the row itself: what the token reads from the picture, and not what it hears of it from other words."""

    def rows(self, tokens: TokenMap, asked: Tensor) -> Tensor:
        return asked.sort().values

    def read(self, weights: Tensor, rows: Tensor, asked: Tensor) -> Tensor:
        return self.chosen(weights).mean(0)[torch.searchsorted(rows, asked)]


class Rollout(Reading):
    """Attention rollout: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020; here over the text rows only.

    An answer is often read off a word of the question that has looked before ("star" finds the star, the answer asks "star"). Rollout follows such
    paths: a layer passes on `residual` of what a text row holds and takes the rest from where it attends. A visual token counts as its own place in
    the picture whatever it has gathered from its neighbours, so that visual rows are not needed.
    """

    def __init__(self, layers: Sequence[int] | None = None, residual: float = 0.5) -> None:
        super().__init__(layers)
        if not 0 <= residual < 1:
            raise ValueError(f"Rollout: residual is the share that a layer passes on, in [0, 1); got {residual}")
        self.residual = residual

    def rows(self, tokens: TokenMap, asked: Tensor) -> Tensor:
        text = tokens.kind[0] == Kind.TEXT
        return torch.nonzero(text[:int(asked.max()) + 1]).flatten()

    def read(self, weights: Tensor, rows: Tensor, asked: Tensor) -> Tensor:
        source = torch.zeros_like(weights[0])
        source[torch.arange(len(rows)), rows] = 1
        for layer in self.chosen(weights):
            here = layer.clone()
            here[:, rows] = 0  # what is not text stands for itself
            source = self.residual * source + (1 - self.residual) * (here + layer[:, rows] @ source)
        return source[torch.searchsorted(rows, asked)]
