"""Prompts to a pretrained vision-language model, made of samples: their words and pictures can be changed, and those about one picture share it."""
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from mm.attention import Recorder
from mm.language.anatomy import decoder_layers, text_decoder
from mm.language.door import levers_of
from mm.models.continuation import OF_TOKENS, ModelContinuation, Trunks
from mm.models.families import token_map
from mm.models.inputs_prompt import InputsPrompt, repacked
from mm.models.pretrained.vlm import PretrainedVLM
from mm.models.prompt import Picture, Pixels, Prompt, Wording
from mm.models.trunk_cache import keeps_all
from mm.models.vlm_prompt import AHEAD, pictured, reworded, wants_whole
from mm.reweight import Rule
from mm.sample import Sample
from mm.tokens import TokenMap

SEES_QUESTION = ("paligemma",)  # its pictures attend to the question


class PretrainedPrompt(Prompt):
    """samples: the last turn's answer is what the model is to go on with, "" if it begins itself. All have images or none has, and clips are of one
    length, as processors want them."""

    def __init__(self, vlm: PretrainedVLM, samples: Sequence[Sample], pixels: Pixels | None = None, rules: Sequence[Rule] | None = None,
                 recorder: Recorder | None = None) -> None:
        self.vlm, self.samples, self.pixels, self.rules, self.recorder = vlm, tuple(samples), pixels, rules, recorder
        self.stop_ids = vlm.stop_ids

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def layers(self) -> int:
        return len(decoder_layers(self.vlm.model))

    def recording(self, recorder: Recorder) -> "PretrainedPrompt":
        return PretrainedPrompt(self.vlm, self.samples, self.pixels, self.rules, recorder)

    def decode(self, ids: Sequence[int]) -> str:
        return self.vlm.text_of([ids])[0]

    def encode(self, answer: str) -> list[int]:
        return list(self.vlm.whole(self.samples[0], answer))

    def watched(self, recorder: Recorder) -> TokenMap:
        return self._of(self.samples).watched(recorder)

    def noised(self, change: Pixels) -> "PretrainedPrompt":
        return PretrainedPrompt(self.vlm, self.samples, change, self.rules, self.recorder)

    def steered(self, rules: Sequence[Rule]) -> "PretrainedPrompt":
        return PretrainedPrompt(self.vlm, self.samples, self.pixels, tuple(rules), self.recorder)

    def without_media(self) -> InputsPrompt:
        """The tokens of the pictures taken out of what the processor made; what it wrote around them stays."""
        return self._of(self.samples).without_media()

    def reworded(self, change: Wording) -> "PretrainedPrompt":
        return PretrainedPrompt(self.vlm, [reworded(sample, change) for sample in self.samples], self.pixels, self.rules, self.recorder)

    def pictured(self, change: Sequence[Picture]) -> "PretrainedPrompt":
        samples = [pictured(sample, each) for sample, each in zip(self.samples, change, strict=True)]
        return PretrainedPrompt(self.vlm, samples, self.pixels, self.rules, self.recorder)

    def continuation(self) -> ModelContinuation:
        return self._trunks() or self._begun() or self._of(self.samples).continuation()

    def _begun(self) -> Trunks | None:
        """Answers that are begun, read behind prompts whose tokens see each other, among which they are none."""
        if self.vlm.model.config.model_type not in SEES_QUESTION or not any(sample.turns[-1].answer for sample in self.samples):
            return None
        rests = [self.vlm.begin(sample, sample.turns[-1].answer) for sample in self.samples]
        if not all(rests):
            raise ValueError(f"some answers of the batch are begun and some are not, which {type(self.vlm.model).__name__} cannot read together; "
                             "put them into batches of their own")
        whole = self._of([without_answer(sample) for sample in self.samples])
        ids, real = padded(rests, whole.inputs["input_ids"].device)
        return Trunks(self.vlm.model, whole.inputs, torch.arange(len(rests), device=ids.device), ids, real, None, whole.continuation().around)

    def _of(self, samples: Sequence[Sample]) -> InputsPrompt:
        begun = [list(self.vlm.begin(sample, sample.turns[-1].answer)) for sample in samples]
        inputs = followed(self.vlm.inputs([without_answer(sample) for sample in samples]), begun)
        prompt = InputsPrompt(self.vlm.model, inputs, self.vlm.processor.tokenizer, self.stop_ids, self.rules, self.recorder)
        return prompt if self.pixels is None else prompt.noised(self.pixels)

    def _trunks(self) -> Trunks | None:
        """The prompts behind shared trunks, each picture processed once; None where no two share one, or levers let a picture know the question."""
        first: dict[tuple[int, ...], int] = {}
        owners = [first.setdefault(tuple(map(id, sample.media)) or (-1 - i,), i) for i, sample in enumerate(self.samples)]
        firsts = list(dict.fromkeys(owners))
        if len(firsts) == len(owners) or not self.shares:
            return None
        words = [self._words(sample) for sample in self.samples]
        shared = {owner: common([words[i] for i, other in enumerate(owners) if other == owner]) for owner in firsts}
        whole = self._of([without_answer(self.samples[i]) for i in firsts])
        if "token_type_ids" in whole.inputs and self._rules:  # what follows is read token by token, as answers are, to which rules do something else
            return None
        keep, shown = whole.inputs["attention_mask"].bool().clone(), token_map(self.vlm.model, whole.inputs).is_vision
        for row, owner in enumerate(firsts):
            rest = words[owner][shared[owner]:]
            if whole.inputs["input_ids"][row, -len(rest):].tolist() != rest:  # this processor writes behind its pictures, or into their questions
                return None
            if bool(shown[row, -len(rest):].any()):  # questions part before their last picture
                return None
            keep[row, keep.shape[1] - len(rest) + AHEAD:] = False
        trunks = {name: repacked(value, keep) if name in ("input_ids", *OF_TOKENS) else value for name, value in whole.inputs.items()}
        rests = [[*words[i][shared[owner]:], *self.vlm.begin(self.samples[i], self.samples[i].turns[-1].answer)] for i, owner in enumerate(owners)]
        ids, real = padded(rests, whole.inputs["input_ids"].device)
        owner_of = torch.tensor([firsts.index(owner) for owner in owners], device=ids.device)
        begun = InputsPrompt(self.vlm.model, trunks, rules=self.rules).continuation()
        return Trunks(self.vlm.model, trunks, owner_of, ids, real, None, begun.around, AHEAD)

    def _words(self, sample: Sample) -> list[int]:
        """Tokens of the prompt with one for each picture."""
        return list(self.vlm.processor.tokenizer(self.vlm.prompter.prompt(without_answer(sample)).text, add_special_tokens=False)["input_ids"])

    @property
    def _rules(self) -> Sequence[Any]:
        """Those that the prompts are read under."""
        levers = levers_of(text_decoder(self.vlm.model))
        plan = None if levers is None else levers.plan
        return self.rules if self.rules is not None else () if plan is None else plan.rules or ()

    @property
    def shares(self) -> bool:
        model = self.vlm.model
        levers = levers_of(text_decoder(model))
        plan = None if levers is None else levers.plan
        mask: Any = None if plan is None else plan.mask
        if self.recorder is not None or (plan is not None and (plan.recorder is not None or plan.tokens is not None)):
            return False
        hides = (mask is None and model.config.model_type not in SEES_QUESTION) or (mask is not None and mask.shares_image_prefix and mask.chunkable)
        return hides and keeps_all(model) and not any(wants_whole(rule) for rule in self._rules)


def without_answer(sample: Sample) -> Sample:
    return replace(sample, turns=(*sample.turns[:-1], replace(sample.turns[-1], answer="")))


def common(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens the rows begin with alike, at least one of each being left over."""
    length = min(map(len, rows)) - 1
    return next((i for i in range(length) if any(row[i] != rows[0][i] for row in rows[1:])), length)


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Long [B, n], padded on the left, and where it is no padding."""
    length = max(map(len, rows))
    ids = torch.stack([pad(torch.tensor(row, dtype=torch.long), (length - len(row), 0)) for row in rows])
    real = torch.stack([pad(torch.ones(len(row), dtype=torch.long), (length - len(row), 0)) for row in rows])
    return ids.to(device), real.to(device)


def followed(inputs: dict[str, Any], begun: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The prompts with the answers that are begun behind them, padded on the left again."""
    if not any(begun):
        return inputs
    ids, real = padded(begun, inputs["input_ids"].device)
    keep = torch.cat([inputs["attention_mask"], real], 1).bool()
    more = {"input_ids": ids, "attention_mask": real}
    tables = {name: torch.cat([inputs[name], more.get(name, torch.zeros_like(ids)).to(inputs[name])], 1) for name in ("input_ids", *OF_TOKENS)
              if name in inputs}
    if "token_type_ids" in inputs:
        tables["token_type_ids"][:, -ids.shape[1]:] = inputs["token_type_ids"][:, -1:]
    return {**inputs, **{name: repacked(table, keep) for name, table in tables.items()}}
