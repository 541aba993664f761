"""Answers of a pretrained vision-language model of transformers."""
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import mm
from eval.frame.benchmark import Item, Row
from eval.frame.levers import Pulled
from eval.frame.prompted import prompted
from eval.frame.runner import Answer
from mm.decoding import Decoding, Plain
from mm.models.pretrained import PretrainedVLM
from mm.models.pretrained.prompt import PretrainedPrompt
from mm.sample import Media, Sample


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

    def answer(self, items: Sequence[Item], media: Mapping[str, tuple[Media, ...]], max_new_tokens: int, decoding: Decoding | None) -> list[Answer]:
        return prompted(items, media, self._prompt, decoding or Plain(), max_new_tokens, self.rows)

    def _prompt(self, samples: Sequence[Sample]) -> PretrainedPrompt:
        return PretrainedPrompt(self.vlm, samples)
