"""Answers of a pretrained vision-language model of transformers."""
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import mm
from eval.frame.batches import parts
from eval.frame.benchmark import Item, Row
from eval.frame.levers import Pulled
from eval.frame.runner import Answer
from mm.models.pretrained import Asked, PretrainedVLM
from mm.sample import Media, Sample, Turn


class Pretrained:
    """rows: of one forward pass."""

    def __init__(self, vlm: PretrainedVLM, rows: int) -> None:
        self.vlm, self.rows = vlm, rows

    def description(self) -> Row:
        model = self.vlm.model
        return {"pretrained": {"class": type(model).__name__, "processor": type(self.vlm.processor).__name__,
                               "dtype": str(model.dtype).removeprefix("torch."), "config": model.config.to_diff_dict()}}

    def steered(self, levers: Pulled) -> AbstractContextManager[Any]:
        if levers.layout is not None:
            raise ValueError(f"{type(self.vlm.model).__name__} lays its prompts out as its chat template says, and {type(levers.layout).__name__} "
                             "cannot change that; leave layout out of the lever")
        if levers == Pulled():
            return nullcontext()
        return mm.steer(self.vlm.model, levers.mask, levers.positions, levers.reweight, levers.keep)

    def answer(self, items: Sequence[Item], media: Mapping[str, tuple[Media, ...]], max_new_tokens: int) -> list[Answer]:
        """Candidates that greedy decoding comes along are read on its way; each of the others takes a row of its own."""
        samples = {item.id: Sample(item.id, media[item.picture], (Turn(item.question),)) for item in items}
        wholes = {item.id: {text: self.vlm.whole(samples[item.id], text) for text in item.candidates} for item in items}
        asked = [Asked(samples[item.id], self.vlm.begin(samples[item.id], item.prefix), tuple(wholes[item.id].values())) for item in items]
        said = [each for part in parts(asked, self.rows) for each in self.vlm.say(part, max_new_tokens)]
        logp = {item.id: dict(each.logp) for item, each in zip(items, said, strict=True)}
        forwards = {item.id: len(each.begun) + len(answer.ids) for item, each, answer in zip(items, asked, said, strict=True)}
        left = [(item.id, tokens) for item in items for tokens in wholes[item.id].values() if tokens not in logp[item.id]]
        for part in parts(left, self.rows):
            forced = self.vlm.say([Asked(samples[id], tokens, (tokens,)) for id, tokens in part], 0)
            for (id, tokens), each in zip(part, forced, strict=True):
                logp[id][tokens] = each.logp[tokens]
                forwards[id] += len(tokens)
        texts = self.vlm.text_of([each.ids for each in said])
        return [
            Answer(text, {name: logp[item.id][tokens] for name, tokens in wholes[item.id].items()} or None,
                   {name: len(tokens) for name, tokens in wholes[item.id].items()} or None, len(each.ids), forwards[item.id])
            for item, text, each in zip(items, texts, said, strict=True)]
