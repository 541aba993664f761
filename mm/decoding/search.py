"""Decoding token by token: rows that have ended leave the batch."""
import zlib
from collections.abc import Collection
from typing import Protocol

import torch
from torch import Tensor

from mm.models.continuation import Continuation

LEAVE = 0.25  # share of ended rows from which on the others go on without them: to move a cache costs about as much as to read it once


class Choice(Protocol):
    """Chooses the next token of each row. rows: which of the batch these are, so that what is drawn for a row does not depend on the others."""

    def __call__(self, logits: Tensor, rows: list[int], step: int) -> Tensor:
        """float32 [B, vocabulary] → long [B]."""


class Greedy:
    """The likeliest."""

    def __call__(self, logits: Tensor, rows: list[int], step: int) -> Tensor:
        return logits.argmax(-1)


class Sampled:
    """Drawn from softmax(logits / temperature), each row from a stream of its own. ValueError for a temperature that is not positive."""

    def __init__(self, temperature: float = 1.0, seed: int = 0) -> None:
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}, and sampling needs a positive one; take Greedy() for its limit 0")
        self.temperature, self.seed = temperature, seed

    def __call__(self, logits: Tensor, rows: list[int], step: int) -> Tensor:
        weights = (logits / self.temperature).softmax(-1).cpu()
        drawn = [torch.multinomial(weight, 1, generator=self._stream(row, step)) for weight, row in zip(weights, rows, strict=True)]
        return torch.cat(drawn).to(logits.device)

    def _stream(self, row: int, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {row} {step}".encode()))


def decoded(continuation: Continuation, stop_ids: Collection[int], max_new_tokens: int, choice: Choice | None = None) -> list[list[int]]:
    """Up to `max_new_tokens` tokens of each row, its end left out."""
    choose, stops = choice or Greedy(), frozenset(stop_ids)
    logits = continuation.begin()
    rows = list(range(len(logits)))  # which row of the batch each row that goes on is
    said: list[list[int]] = [[] for _ in rows]
    ended = [False] * len(rows)
    for step in range(max_new_tokens):
        ids = choose(logits, rows, step)
        for row, token in zip(rows, ids.tolist(), strict=True):
            ended[row] = ended[row] or token in stops
            if not ended[row]:
                said[row].append(token)
        going = [place for place, row in enumerate(rows) if not ended[row]]
        if not going or step == max_new_tokens - 1:
            break
        if len(rows) - len(going) >= LEAVE * len(rows) and continuation.selects:
            keep = torch.tensor(going, device=ids.device)
            continuation.select(keep)
            rows, ids = [rows[place] for place in going], ids[keep]
        logits = continuation.step(ids)
    return said
