"""Prompts to a `mm.VLM`: samples whose last question is to be answered, those about one picture read behind one copy of it."""
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mm.attention import Plan, Recorder, activated
from mm.attention.session import Session
from mm.models.batch import UNLABELLED, Batch
from mm.models.continuation import Continuation, ModelContinuation, Trunks
from mm.models.layout import LEAD, PLACEHOLDER
from mm.models.modes import evaluating
from mm.models.picture_sets import seen_by
from mm.models.processor import PADDING, Row
from mm.models.prompt import Picture, Pixels, Prompt, Wording
from mm.models.trunk_cache import keeps_all
from mm.models.vlm import VLM
from mm.reweight import Rule
from mm.sample import Media, Sample
from mm.streams import Sources, showing
from mm.tokens import Kind, TokenMap

AHEAD = 1  # tokens that are read behind a trunk and forgotten


class VLMPrompt(Prompt):
    """samples: the last turn's answer is what the model is to go on with, "" if it begins itself."""

    def __init__(self, vlm: VLM, samples: Sequence[Sample], pixels: Pixels | None = None, rules: Sequence[Rule] | None = None,
                 recorder: Recorder | None = None) -> None:
        self.vlm, self.samples, self.pixels, self.rules, self.recorder = vlm, tuple(samples), pixels, rules, recorder
        self.stop_ids = vlm.processor.stop_ids

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def layers(self) -> int:
        return self.vlm.language.layers

    def recording(self, recorder: Recorder) -> "VLMPrompt":
        return VLMPrompt(self.vlm, self.samples, self.pixels, self.rules, recorder)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.vlm.language.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def encode(self, answer: str) -> list[int]:
        tokens = self.vlm.processor.chat.tokenise("", (("a", answer),))
        said = tokens.ids[tokens.answer >= 0].tolist()
        end = next(i for i, token in enumerate(said) if token in self.stop_ids)
        return [int(token) for token in said[:end + 1]]

    def watched(self, recorder: Recorder) -> TokenMap:
        batch = self.vlm.processor.collate(self._rows(), left=True)
        self.recording(recorder)._of_rows(batch).begin()
        return batch.tokens

    def noised(self, change: Pixels) -> "VLMPrompt":
        return VLMPrompt(self.vlm, self.samples, change, self.rules, self.recorder)

    def steered(self, rules: Sequence[Rule]) -> "VLMPrompt":
        return VLMPrompt(self.vlm, self.samples, self.pixels, rules, self.recorder)

    def without_media(self) -> "VLMPrompt":
        def bare(sample: Sample) -> Sample:
            return replace(sample, media=(), turns=tuple(replace(turn, question=PLACEHOLDER.sub("", turn.question)) for turn in sample.turns))

        return VLMPrompt(self.vlm, [bare(sample) for sample in self.samples], None, self.rules, self.recorder)

    def reworded(self, change: Wording) -> "VLMPrompt":
        return VLMPrompt(self.vlm, [reworded(sample, change) for sample in self.samples], self.pixels, self.rules, self.recorder)

    def pictured(self, change: Sequence[Picture]) -> "VLMPrompt":
        samples = [pictured(sample, each) for sample, each in zip(self.samples, change, strict=True)]
        return VLMPrompt(self.vlm, samples, self.pixels, self.rules, self.recorder)

    @property
    def shares(self) -> bool:
        vlm, rules = self.vlm, self.vlm.reweight if self.rules is None else self.rules
        looks = any(wants_whole(rule) for rule in rules)
        return vlm.streams is None and keeps_all(vlm.language.model) and vlm.mask.shares_image_prefix and not looks

    def continuation(self) -> Continuation:
        rows = self._rows()
        if trunks := self._trunks(rows):
            return trunks
        return self._of_rows(self.vlm.processor.collate(rows, left=True))

    # --- rows

    def _rows(self) -> list[Row]:
        """One for each sample. Samples with the same media objects share their pixels."""
        pixels: dict[tuple[int, ...], Tensor] = {}
        rows = []
        for sample in self.samples:
            row = self._begun(sample)
            rows.append(replace(row, pixels=pixels.setdefault(tuple(map(id, sample.media)), row.pixels)))
        return rows

    def _begun(self, sample: Sample) -> Row:
        """A row that ends where the model is to answer, or to go on with the answer that the sample begins for it."""
        processor = self.vlm.processor
        if not sample.turns or not sample.turns[-1].answer:
            return processor.prompt(sample)
        row = processor.encode(sample)
        turn = row.tables[list(PADDING).index("turn")]
        end = int(np.flatnonzero(np.isin(row.labels, processor.stop_ids) & (turn == len(sample.turns) - 1))[0])
        return replace(row, input_ids=row.input_ids[:end], labels=np.full(end, UNLABELLED), weights=row.weights[:end], tables=row.tables[:, :end])

    def _of_rows(self, batch: Batch) -> ModelContinuation:
        batch = batch.to(self.vlm.device)
        embeds, around = self._read(batch)
        return ModelContinuation(self.vlm.language.model, {"inputs_embeds": embeds, "attention_mask": batch.tokens.is_real.long()}, around)

    def _trunks(self, rows: Sequence[Row]) -> Trunks | None:
        """The rows behind shared trunks; None where no two share one, or the levers let a picture know what is asked about it."""
        owners = _owners(rows)
        firsts = list(dict.fromkeys(owners))
        if len(firsts) == len(rows) or not self.shares:
            return None
        lengths = {first: _common([rows[i] for i, owner in enumerate(owners) if owner == first]) for first in firsts}
        if not all(lengths.values()) or not self._parts(rows, owners, lengths):
            return None
        trunks = [_piece(rows[first], 0, lengths[first] + AHEAD) for first in firsts]
        rests = [replace(_piece(row, lengths[owner], len(row)), pixels=row.pixels[:0], frames=row.frames[:0])
                 for row, owner in zip(rows, owners, strict=True)]
        collate, device = self.vlm.processor.collate, self.vlm.device
        batch = collate(trunks, left=True).to(device)
        rest = collate(rests, left=True).to(device)
        owner = torch.tensor([firsts.index(each) for each in owners], device=device)
        embeds, around = self._read(batch)
        inputs = {"inputs_embeds": embeds, "attention_mask": batch.tokens.is_real.long()}
        tokens = _joined(batch.tokens[owner, :-AHEAD], rest.tokens)
        return Trunks(self.vlm.language.model, inputs, owner, rest.input_ids, rest.tokens.is_real.long(), tokens, around, AHEAD)

    def _parts(self, rows: Sequence[Row], owners: Sequence[int], lengths: dict[int, int]) -> bool:
        """Whether trunks are the same without what follows: the mask hides it, and positions do not ask for it."""
        vlm = self.vlm
        longest = {owner: max((row for row, other in zip(rows, owners, strict=True) if other == owner), key=len) for owner in lengths}
        for owner, length in lengths.items():
            whole = vlm.processor.collate([longest[owner]]).tokens
            if bool(vlm.mask.dense(whole, slice(0, length), slice(length, None)).any()):
                return False
            trunk = vlm.processor.collate([_piece(longest[owner], 0, length + AHEAD)]).tokens
            if not torch.equal(vlm.positions.assign(whole)[:, :length], vlm.positions.assign(trunk)[:, :length]):
                return False
        return True

    # --- reading

    @torch.no_grad()
    def _read(self, batch: Batch) -> tuple[Tensor, "Active"]:
        """The embeddings of the rows, and what is to be active while they are read. A picture that several rows have is encoded once."""
        vlm = self.vlm
        if self.pixels is not None and len(batch.pixels):
            changed = torch.cat([self.pixels(frame) for frame in vlm.vision.normalised(batch.pixels).split(1)])
            batch = replace(batch, pixels=(changed - vlm.vision.shift) / vlm.vision.scale)
        with evaluating(vlm):
            embeds, sources = vlm.read(batch)
            rules = seen_by(vlm.reweight if self.rules is None else vlm.language.rules(self.rules), vlm, batch)
        return embeds, Active(Plan(vlm.mask, batch.tokens, self.recorder, vlm.positions, tuple(rules)), sources)


class Active:
    """The levers and media of a model while it is read on."""

    def __init__(self, plan: Plan, sources: Sources | None) -> None:
        self.plan, self.sources = plan, sources

    def __call__(self, session: Session | None) -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(activated(self.plan if session is None else session.plan))
        stack.enter_context(showing(self.sources))
        return stack


def wants_whole(rule: Rule) -> bool:
    """Whether it must see a prompt in one piece, so that nothing can be read before the rest is there."""
    return not rule.is_neutral and (rule.wants_whole or "columns" in rule.needs)


def reworded(sample: Sample, change: Wording) -> Sample:
    """Its last question changed behind the placeholders at its head."""
    *before, last = sample.turns
    found = LEAD.match(last.question)
    lead = found.group() if found else ""
    return replace(sample, turns=(*before, replace(last, question=lead + change(last.question[len(lead):]))))


def pictured(sample: Sample, change: Picture) -> Sample:
    return replace(sample, media=tuple(Media(change(medium.frames, i), medium.kind, medium.times) for i, medium in enumerate(sample.media)))


def _owners(rows: Sequence[Row]) -> list[int]:
    """For each row, the first one with the same picture; a row without a picture is its own."""
    first: dict[int, int] = {}
    return [first.setdefault(id(row.pixels), i) if len(row.pixels) else i for i, row in enumerate(rows)]


def _common(rows: Sequence[Row]) -> int:
    """How many tokens the rows begin with alike, at least one of each being left over; 0 where a picture would be parted."""
    length = min(map(len, rows)) - 1
    for row in rows[1:]:
        differs = (row.input_ids[:length] != rows[0].input_ids[:length]) | (row.tables[:, :length] != rows[0].tables[:, :length]).any(0)
        length = int(differs.argmax()) if differs.any() else length
    kinds = [row.tables[0, length:] == Kind.VISION for row in rows]
    return 0 if any(kind.any() for kind in kinds) else length


def _piece(row: Row, start: int, stop: int) -> Row:
    return replace(row, input_ids=row.input_ids[start:stop], labels=row.labels[start:stop], weights=row.weights[start:stop],
                   tables=row.tables[:, start:stop])


def _joined(trunk: TokenMap, rest: TokenMap) -> TokenMap:
    """The map of trunks with what follows; what counts along the row is counted anew."""
    names = ("kind", "document", "branch", "media", "frame", "row", "col", "role", "turn", "position")
    tables = [torch.cat([getattr(trunk, name), getattr(rest, name)], 1) for name in names]
    tables.append(torch.arange(tables[0].shape[1], device=trunk.device).expand_as(tables[0]))
    return TokenMap(*tables)
