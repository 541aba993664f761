"""Answers of a mm.VLM: questions about one picture share one copy of it wherever the mask lets them."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import mm
from eval.frame.batches import parts
from eval.frame.benchmark import Item, Row
from eval.frame.prompted import limit_of, prompted
from eval.frame.runner import Answer
from mm.decoding import Decoding, Plain
from mm.models import VLM, Branches, Processor
from mm.models import Row as Encoded
from mm.models.layout import LEAD, PLACEHOLDER
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Positions
from mm.sample import BadSample, Media, Sample, Turn

Asked = tuple[Item, str]  # with one of its candidates


class Read(NamedTuple):
    """A candidate as the whole answer: log-probability, number of tokens, whether greedy decoding gives it, and its part of a forward pass."""

    logp: float
    tokens: int
    is_greedy: bool
    forwards: float


Forced = dict[str, dict[str, Read]]  # item id -> candidate


class Assembled:
    """rows: of one forward pass."""

    def __init__(self, vlm: VLM, rows: int) -> None:
        self.vlm, self.rows = vlm, rows

    def description(self) -> Row:
        return {"parts": self.vlm.rebuild()}

    def answer(self, items: Sequence[Item], media: Mapping[str, tuple[Media, ...]], max_new_tokens: int, decoding: Decoding | None) -> list[Answer]:
        """Where greedy decoding would give a candidate, forcing the candidates has shown it already, and nothing is decoded."""
        if decoding is not None:
            return prompted(items, media, self._prompt, decoding, max_new_tokens, self.rows)
        forced = self._force([item for item in items if item.candidates], media, max_new_tokens)
        greedy = {id: (text, read.tokens) for id, verdicts in forced.items() for text, read in verdicts.items() if read.is_greedy}
        open_ended = [replace(item, candidates=()) for item in items if item.id not in greedy]
        said = dict(zip((item.id for item in open_ended), prompted(open_ended, media, self._prompt, Plain(), max_new_tokens, self.rows), strict=True))
        return [_answer(*greedy[item.id], 0.0, forced[item.id]) if item.id in greedy
                else _answer(said[item.id].text, said[item.id].generated, said[item.id].forwards, forced.get(item.id)) for item in items]

    def _prompt(self, samples: Sequence[Sample]) -> VLMPrompt:
        return VLMPrompt(self.vlm, samples)

    def _force(self, items: Sequence[Item], media: Mapping[str, tuple[Media, ...]], limit: int) -> Forced:
        """Every candidate read as the answer. limit: an answer of more tokens is not what decoding would give, where its
        item says nothing else."""
        positions = self._in_branches()
        shared = positions is not None
        processor = Processor(self.vlm.language.tokenizer, self.vlm.geometry, Branches() if shared else self.vlm.layout, self.vlm.max_length)
        groups: dict[str, list[Asked]] = {}
        for item in items:
            for candidate in item.candidates:
                lead = _lead(item.question)
                together = shared and not PLACEHOLDER.search(item.question, len(lead))
                groups.setdefault(f"{item.picture} {lead}" if together else f"{item.id} {candidate}", []).append((item, candidate))
        rows = [row for group in groups.values() for row in _rows(processor, group, media[group[0][0].picture])]
        found: Forced = {item.id: {} for item in items}
        with mm.steer(self.vlm, positions=positions):
            for part in parts(rows, self.rows):
                self._read(processor, part, limit, found)
        return found

    def _read(self, processor: Processor, rows: Sequence[tuple[Sequence[Asked], Encoded]], limit: int, found: Forced) -> None:
        batch = processor.collate([row for _, row in rows]).to(self.vlm.device)
        logits, targets, _ = self.vlm(batch)
        own = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].tolist()
        greedy = (logits.argmax(-1) == targets).tolist()
        at, length = batch.predict_at + 1, batch.input_ids.shape[1]
        owners = zip((at // length).tolist(), batch.tokens.turn.flatten()[at].tolist(), strict=True)
        stops, ended = set(processor.stop_ids), set[tuple[int, int]]()
        tokens: dict[tuple[int, int], list[tuple[float, bool]]] = {}
        for owner, target, logp, is_greedy in zip(owners, targets.tolist(), own, greedy, strict=True):
            if owner not in ended:  # what a template writes behind the end of an answer is not the model's to say
                tokens.setdefault(owner, []).append((logp, is_greedy))
                if target in stops:
                    ended.add(owner)
        for (b, turn), said in tokens.items():
            group = rows[b][0]
            item, candidate = group[turn]
            is_greedy = all(is_greedy for _, is_greedy in said) and len(said) <= limit_of(item, limit)
            found[item.id][candidate] = Read(sum(logp for logp, _ in said), len(said), is_greedy, 1 / len(group))

    def _in_branches(self) -> Positions | None:
        """The positions under which questions behind one picture are answered as each alone; None where there are no such positions, or a lever lets
        questions know of each other.
        """
        vlm = self.vlm
        apart = isinstance(vlm.layout, Branches) or vlm.mask.shares_image_prefix
        return vlm.positions.in_branches() if apart and all(rule.shares_rows or rule.is_neutral for rule in vlm.reweight) else None


def _answer(text: str, generated: int, decoded: float, candidates: Mapping[str, Read] | None) -> Answer:
    """decoded: forward passes of decoding, beside those of forcing candidates."""
    if candidates is None:
        return Answer(text, generated=generated, forwards=decoded)
    return Answer(text, {said: read.logp for said, read in candidates.items()}, {said: read.tokens for said, read in candidates.items()},
                  generated, decoded + sum(read.forwards for read in candidates.values()))


def _rows(processor: Processor, group: Sequence[Asked], media: tuple[Media, ...]) -> list[tuple[Sequence[Asked], Encoded]]:
    """The group in one row, or in halves of halves where a row is too long or its questions cannot share a trunk. BadSample if one alone is bad."""
    first, *others = ((item.question, candidate) for item, candidate in group)
    turns = [Turn(*first), *(Turn(question[len(_lead(question)):], candidate) for question, candidate in others)]
    try:
        return [(group, processor.encode(Sample(group[0][0].id, media, tuple(turns))))]
    except BadSample:
        if len(group) == 1:
            raise
    half = len(group) // 2
    return _rows(processor, group[:half], media) + _rows(processor, group[half:], media)


def _lead(question: str) -> str:
    """The placeholders at its head, which branches share."""
    found = LEAD.match(question)
    return found.group() if found else ""
