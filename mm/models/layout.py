"""How the turns of a sample share a row."""
import re
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from mm.language.chat import Chat, Tokens
from mm.sample import PLACEHOLDERS, BadSample, Sample

PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS.values())))
LEAD = re.compile(rf"\s*(?:(?:{PLACEHOLDER.pattern})\s*)*")


class Laid(NamedTuple):
    """Tokens of a row before placeholders are expanded, each int64 [N]: ids; answer: turn whose answer it belongs to, -1 elsewhere; turn; branch."""

    ids: np.ndarray
    answer: np.ndarray
    turn: np.ndarray
    branch: np.ndarray


class Layout(ABC):
    """Lays a sample's turns out in one row."""

    @abstractmethod
    def lay(self, chat: Chat, sample: Sample, reply: bool = False) -> Laid:
        """reply: a prompt, which ends where the last answer would begin."""

    @abstractmethod
    def alone(self, sample: Sample, turn: int) -> Sample:
        """The sample whose last turn is `turn`, with what the model would have seen before it: the prompt of that turn."""


class Dialogue(Layout):
    """Turns one after another, as a conversation: a turn sees the turns before it."""

    def lay(self, chat: Chat, sample: Sample, reply: bool = False) -> Laid:
        tokens = chat.tokenise(sample.system, pairs(sample), reply)
        return Laid(*tokens, np.zeros_like(tokens.ids))

    def alone(self, sample: Sample, turn: int) -> Sample:
        turns = sample.turns[:turn + 1]
        shown = sum(len(PLACEHOLDER.findall(earlier.question)) for earlier in turns)
        return replace(sample, turns=turns, media=sample.media[:shown])


class Branches(Layout):
    """Every turn a prompt of its own behind one shared picture: no turn sees another one.

    The trunk (branch 0) reaches up to and including the last placeholder; turn i goes on behind it as branch i + 1. With `mm.positions.Restart` each
    turn is then worth a sample of its own, at the price of its text. Placeholders stand at the head of the first question; the other turns get them
    implicitly.
    """

    def lay(self, chat: Chat, sample: Sample, reply: bool = False) -> Laid:
        if reply:
            sample = self.alone(sample, len(sample.turns) - 1)
        lead = self._lead(sample)
        placeholders = tuple(chat.tokenizer.convert_tokens_to_ids(token) for token in PLACEHOLDERS.values())
        questions = [turn.question if index == 0 else lead + turn.question for index, turn in enumerate(sample.turns)]
        cuts = [_cut(chat, sample.system, question, turn.answer, reply, placeholders) for question, turn in zip(questions, sample.turns, strict=True)]
        for index, cut in enumerate(cuts):
            if cut.key != cuts[0].key:
                raise BadSample(sample.id, f"the chat template begins turn {index + 1} differently from turn 1, so they cannot share a trunk; "
                                           "use Dialogue")
        pieces = [cuts[0].trunk, *(cut.branch for cut in cuts)]
        ids, answer, turn = (np.concatenate(tables) for tables in zip(*pieces, strict=True))
        branch = np.repeat(np.arange(len(pieces)), [len(piece.ids) for piece in pieces])
        owner = np.maximum(branch - 1, 0)
        return Laid(ids, np.where(answer >= 0, owner, -1), np.where(turn >= 0, owner, -1), branch)

    def alone(self, sample: Sample, turn: int) -> Sample:
        chosen = sample.turns[turn]
        return replace(sample, turns=(chosen if turn == 0 else replace(chosen, question=self._lead(sample) + chosen.question),))

    def _lead(self, sample: Sample) -> str:
        """The placeholders that every turn begins with. BadSample where a turn has others."""
        first = sample.turns[0].question
        lead = LEAD.match(first).group()  # type: ignore[union-attr]
        if len(sample.turns) == 1:
            return lead
        for index, turn in enumerate(sample.turns):
            if PLACEHOLDER.search(turn.question, len(lead) if index == 0 else 0):
                raise BadSample(sample.id, f"turn {index + 1} has a placeholder that does not lead the first question, and branches share one trunk; "
                                           "put all placeholders first, or use Dialogue")
        return lead


def pairs(sample: Sample) -> tuple[tuple[str, str], ...]:
    return tuple((turn.question, turn.answer) for turn in sample.turns)


class Cut(NamedTuple):
    """A single-turn dialogue, cut behind its last placeholder. key: the trunk's ids, to compare quickly."""

    trunk: Tokens
    branch: Tokens
    key: bytes


@lru_cache(maxsize=2**16)
def _cut(chat: Chat, system: str, question: str, answer: str, reply: bool, placeholders: tuple[Any, ...]) -> Cut:
    tokens = chat.tokenise(system, ((question, answer),), reply)
    media = np.flatnonzero(np.logical_or.reduce([tokens.ids == placeholder for placeholder in placeholders]))  # isin takes ten times as long
    end = int(media[-1]) + 1 if len(media) else 0
    return Cut(Tokens(*(table[:end] for table in tokens)), Tokens(*(table[end:] for table in tokens)), tokens.ids[:end].tobytes())
