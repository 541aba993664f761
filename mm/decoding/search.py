"""Decoding token by token: rows that have ended leave the batch."""
import zlib
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mm.models.continuation import Continuation

LEAVE = 0.25  # share of ended rows from which on the others go on without them: to move a cache costs about as much as to read it once

LEAST = -100.0  # log-probability of a token that is as good as impossible, finite so that it can be written down


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


class Spoken(NamedTuple):
    """ids: tokens of the answer, its end left out. logp: of a row's whole given answer, its end included; of a row that chose by itself 0."""

    ids: list[int]
    logp: float


def spoken(continuation: Continuation, stop_ids: Collection[int], max_new_tokens: int | Sequence[int],
           given: Sequence[Sequence[int] | None] | None = None, choice: Choice | None = None) -> list[Spoken]:
    """What each row says: its given answer, whole and whatever its length, or where there is none what is chosen, up to `max_new_tokens` tokens, of
    all rows or of each.

    A given answer's tokens that a method cuts count as `LEAST`.
    """
    choose, stops = choice or Greedy(), frozenset(stop_ids)
    logits = continuation.begin()
    given = [None] * len(logits) if given is None else given
    if len(given) != len(logits):
        raise ValueError(f"there are {len(logits)} prompts and {len(given)} given answers; give one, or None, for each")
    most = [max_new_tokens] * len(logits) if isinstance(max_new_tokens, int) else max_new_tokens
    limits = [limit if answer is None else len(answer) for limit, answer in zip(most, given, strict=True)]
    rows = list(range(len(logits)))  # which row of the batch each row that goes on is
    said: list[list[int]] = [[] for _ in rows]
    logp = [0.0] * len(rows)
    ended = [False] * len(rows)
    for step in range(max(limits)):
        ids = choose(logits, rows, step).tolist()
        shares = logits.log_softmax(-1) if any(given[row] is not None for row in rows) else logits
        for place, row in enumerate(rows):
            answer = given[row]
            if ended[row]:
                continue
            if answer is not None:
                ids[place] = answer[step]
                logp[row] += max(float(shares[place, answer[step]]), LEAST)
            ended[row] = ids[place] in stops
            if not ended[row]:
                said[row].append(ids[place])
            ended[row] = ended[row] or step + 1 >= limits[row]
        going = [place for place, row in enumerate(rows) if not ended[row]]
        if not going:
            break
        if len(rows) - len(going) >= LEAVE * len(rows) and continuation.selects:
            continuation.select(torch.tensor(going, device=logits.device))
            rows, ids = [rows[place] for place in going], [ids[place] for place in going]
        logits = continuation.step(torch.tensor(ids, device=logits.device))
    return [Spoken(*each) for each in zip(said, logp, strict=True)]


def decoded(continuation: Continuation, stop_ids: Collection[int], max_new_tokens: int, choice: Choice | None = None) -> list[list[int]]:
    """Up to `max_new_tokens` tokens of each row, its end left out."""
    return [each.ids for each in spoken(continuation, stop_ids, max_new_tokens, None, choice)]
