"""A continuation that keeps where each of its rows looks in its picture, step by step."""
from typing import NamedTuple

import torch
from torch import Tensor

from mm.attention import Newest
from mm.models.continuation import Continuation
from mm.tokens import TokenMap


class Places(NamedTuple):
    """Tokens of one row's picture. at: where they stand in the row; row, col: in the picture's grid; long [n] each."""

    at: Tensor
    row: Tensor
    col: Tensor

    def spread(self, values: Tensor) -> Tensor:
        """Values [n] on the grid, [rows, cols], 0 where no token stands."""
        grid = values.new_zeros(int(self.row.max()) + 1, int(self.col.max()) + 1)
        return grid.index_put_((self.row.to(values.device), self.col.to(values.device)), values, accumulate=True)


def places(tokens: TokenMap, row: int) -> Places:
    """Of the picture of one row. Where it is read in several tiles, the last counts: in all families it is of the whole. ValueError where its tokens
    have no place, or the model reads it as several pictures."""
    placed = (tokens.media[row] >= 0) & (tokens.row[row] >= 0)
    if not bool(placed.any()):
        raise ValueError(f"the picture of prompt {row} has no tokens with a place in it, so there is no telling where a step looks; take one that "
                         "keeps the grid, for instance with the projector mm.streams.MLP")
    if (count := int(tokens.media[row].max()) + 1) > 1:
        raise ValueError(f"the model reads the picture of prompt {row} as {count} pictures, and which part of it each one shows is not known; turn "
                         "cropping off in its processor")
    at = (placed & (tokens.frame[row] == tokens.frame[row][placed].max())).nonzero()[:, 0]
    return Places(at, tokens.row[row, at], tokens.col[row, at])


class Watching(Continuation):
    """looks: [row of the prompts][step], what the step's newest token gives to each of the row's places, the mean over heads: float64 [L, n], on the
    CPU. A row that has ended goes on looking while it is in the batch. places: of each row of the prompts.

    Args:
        inner: begun by this one. recorder: watches it, in L layers.
    """

    def __init__(self, inner: Continuation, recorder: Newest) -> None:
        self.inner, self.recorder = inner, recorder
        self.rows: list[int] = []
        self.places: list[Places] = []
        self.looks: list[list[Tensor]] = []

    def begin(self) -> Tensor:
        logits = self.inner.begin()
        tokens = self.recorder.tokens
        assert tokens is not None, "something was read"
        self.rows = list(range(len(logits)))
        self.places = [places(tokens, row) for row in self.rows]
        self.looks = [[] for _ in self.rows]
        self._look()
        return logits

    def step(self, ids: Tensor) -> Tensor:
        logits = self.inner.step(ids)
        self._look()
        return logits

    def _look(self) -> None:
        means = torch.stack([self.recorder.looks[layer].mean(1) for layer in sorted(self.recorder.looks)], 1)
        for place, row in enumerate(self.rows):
            self.looks[row].append(means[place][:, self.places[row].at].double().cpu())

    def select(self, rows: Tensor) -> None:
        self.inner.select(rows)
        self.rows = [self.rows[row] for row in rows.tolist()]

    @property
    def selects(self) -> bool:
        return self.inner.selects
