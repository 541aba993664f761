"""Beam search, with the end of beams as transformers has it: ended answers compete by log-probability per token, and the best one is given."""
from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mm.decoding.base import Decoding
from mm.decoding.search import Choice, Greedy
from mm.models.prompt import Prompt

DEAD = -1e9  # score of a beam that is none: there are fewer ways to go on than beams

Ended = tuple[float, list[int]]  # score, and tokens, the end included where it was reached


@dataclass(frozen=True)
class Width:
    """beams: of each sample. length_penalty: an ended answer of T tokens, its end included, has log p / T**length_penalty. stops: what ends one."""

    beams: int
    length_penalty: float
    stops: frozenset[int]

    @property
    def kept(self) -> int:
        """Ways to go on that are looked at, so that `beams` are left where the best of them end."""
        return max(2, 1 + len(self.stops)) * self.beams


@dataclass
class Beams:
    """Of S samples, W each; one each before the first token, `width.beams` after it.

    ids: long [S, W, T]. scores: float32 [S, W], log-probabilities, best first. ended: the best ended answers of each sample, `width.beams` at most,
    best first.
    """

    width: Width
    ids: Tensor
    scores: Tensor
    ended: list[list[Ended]] = field(default_factory=list)

    @classmethod
    def begun(cls, width: Width, samples: int, device: torch.device) -> "Beams":
        scores = torch.zeros(samples, 1, device=device)
        return cls(width, torch.empty(samples, 1, 0, dtype=torch.long, device=device), scores, [[] for _ in range(samples)])

    def advance(self, logp: Tensor, tokens: Tensor, is_last: bool) -> Tensor:
        """Goes on with the best of C tokens behind each beam: tokens long [S, W, C], with log-probabilities [S, W, C]. is_last: all answers end here.

        Where each beam has come from, long [S, beams], an index into W * C.
        """
        count, options = self.width.beams, tokens.flatten(1)
        total = (logp + self.scores[..., None]).flatten(1)
        best, place = total.topk(min(self.width.kept, total.shape[1]))
        if (missing := count - best.shape[1]) > 0:
            best = torch.cat([best, best.new_full((len(best), missing), DEAD)], 1)
            place = torch.cat([place, place[:, :1].expand(-1, missing)], 1)
        parent, token = place // tokens.shape[2], options.gather(1, place)
        ids = torch.cat([self.ids.gather(1, parent[..., None].expand(-1, -1, self.ids.shape[2])), token[..., None]], -1)
        ends = torch.full_like(token, is_last, dtype=torch.bool)
        for stop in self.width.stops:
            ends |= token == stop
        self._keep(ids[:, :count], best[:, :count], ends[:, :count])
        self.scores, going = (best + ends * DEAD).topk(count)
        self.ids = ids.gather(1, going[..., None].expand(-1, -1, ids.shape[2]))
        return place.gather(1, going)

    def _keep(self, ids: Tensor, scores: Tensor, ends: Tensor) -> None:
        """The best answers that have ended. Only those among the best `beams` ways to go on count."""
        per_token = (scores / ids.shape[2]**self.width.length_penalty).tolist()
        for sample, beam in ends.nonzero().tolist():
            self.ended[sample].append((per_token[sample][beam], ids[sample, beam].tolist()))
        for answers in self.ended:
            answers.sort(key=lambda answer: -answer[0])
            del answers[self.width.beams:]

    def open(self) -> list[bool]:
        """For each sample, whether it may still end better: it has not ended often enough, or its best beam is better than the worst of the ends."""
        best = (self.scores[:, 0] / self.ids.shape[2]**self.width.length_penalty).tolist()
        return [len(answers) < self.width.beams or score > answers[-1][0] for score, answers in zip(best, self.ended, strict=True)]

    def of(self, samples: list[int]) -> "Beams":
        """Of these samples only."""
        return Beams(self.width, self.ids[samples], self.scores[samples], [self.ended[sample] for sample in samples])

    def answer(self, sample: int) -> list[int]:
        """The best one, its end left out."""
        said = self.ended[sample][0][1]
        return said[:-1] if said[-1] in self.width.stops else said


class BeamSearch(Decoding):
    """Gives what `generate(num_beams=...)` of transformers gives, and each sample leaves the batch when it can get no better.

    Args: beams: of each sample. length_penalty: the power of the length that the log-probability of an answer is divided by.
    """

    def __init__(self, beams: int = 5, length_penalty: float = 1.0) -> None:
        if beams < 1:
            raise ValueError(f"beams is {beams}; a search has one at least")
        self.beams, self.length_penalty = beams, length_penalty

    def decode(self, prompt: Prompt, max_new_tokens: int, choice: Choice | None = None) -> list[list[int]]:
        refuse(self, choice)
        going = prompt.continuation()
        logits = going.begin()
        beams = Beams.begun(width_of(self.beams, self.length_penalty, prompt.stop_ids), len(prompt), logits.device)
        samples = list(range(len(prompt)))
        answers: list[list[int]] = [[] for _ in samples]
        for step in range(max_new_tokens):
            is_last = step == max_new_tokens - 1
            logp, tokens = logits.log_softmax(-1).topk(min(logits.shape[-1], beams.width.kept))
            shape = (*beams.scores.shape, -1)
            rows = parents(beams.advance(logp.view(shape), tokens.view(shape), is_last), tokens.shape[-1], shape[1])
            is_open = beams.open()
            for place, sample in enumerate(samples):
                if is_last or not is_open[place]:
                    answers[sample] = beams.answer(place)
            stay = [place for place in range(len(samples)) if is_open[place]]
            if is_last or not stay:
                break
            beams, samples = beams.of(stay), [samples[place] for place in stay]
            going.select(rows[stay].flatten())
            logits = going.step(beams.ids[..., -1].flatten())
        return answers


def width_of(beams: int, length_penalty: float, stop_ids: Collection[int]) -> Width:
    return Width(beams, length_penalty, frozenset(stop_ids))


def parents(chosen: Tensor, options: int, beams: int) -> Tensor:
    """Rows [S, K] of S * `beams` that the beams `chosen` have come from; `chosen` counts `options` behind each."""
    return chosen // options + beams * torch.arange(len(chosen), device=chosen.device)[:, None]


def refuse(decoding: Decoding, choice: Choice | None) -> None:
    """ValueError for a choice of tokens that a search does not make."""
    if choice is not None and not isinstance(choice, Greedy):
        raise ValueError(f"{decoding!r} searches, and {type(choice).__name__} chooses token by token; leave the choice out, or take a decoding "
                         "without a search of its own")
