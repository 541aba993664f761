"""Prompts to a vision-language model of transformers, as its processor made them."""
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from mm.attention import Recorder
from mm.attention.session import Session
from mm.language.anatomy import decoder_layers, text_decoder
from mm.language.door import levers_of
from mm.models.continuation import OF_TOKENS, ModelContinuation
from mm.models.families import token_map
from mm.models.picture_sets import seeing
from mm.models.prompt import Picture, Pixels, Prompt, Wording
from mm.models.steer import Steering, steer
from mm.reweight import Rule
from mm.tokens import TokenMap

GRIDS = {"pixel_values": "image_grid_thw", "pixel_values_videos": "video_grid_thw"}  # of models that lay the patches of all pictures side by side


class InputsPrompt(Prompt):
    """Args:
        model: levers may lie on it (`mm.steer`); they hold for these prompts, too.
        inputs: what the processor made of B prompts, padded on the left.
        tokenizer: turns answers into text and back. stop_ids: tokens that end an answer, by default what the model's generation configuration says.
        rules: in place of those that the model is under. recorder: watches.
    """

    def __init__(self, model: PreTrainedModel, inputs: Mapping[str, Any], tokenizer: Any = None, stop_ids: Sequence[int] | None = None,
                 rules: Sequence[Rule] | None = None, recorder: Recorder | None = None) -> None:
        self.model, self.inputs, self.tokenizer, self.rules, self.recorder = model, dict(inputs), tokenizer, rules, recorder
        self.stop_ids = ends_of(model) if stop_ids is None else tuple(stop_ids)

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])

    @property
    def shares(self) -> bool:
        return False

    @property
    def layers(self) -> int:
        return len(decoder_layers(self.model))

    def recording(self, recorder: Recorder) -> "InputsPrompt":
        return InputsPrompt(self.model, self.inputs, self.tokenizer, self.stop_ids, self.rules, recorder)

    def continuation(self) -> ModelContinuation:
        is_bare = not self.rules and levers_of(text_decoder(self.model)) is None  # nothing is to be put on or taken off
        rules = seeing(self.model, self.inputs, self.rules)
        if self.recorder is None and (rules is None or is_bare) and not self._is_mapped:
            return ModelContinuation(self.model, self.inputs)
        return ModelContinuation(self.model, self.inputs, partial(under, self.model, rules, self.recorder))

    @property
    def _is_mapped(self) -> bool:
        """Whether the map of these prompts lies on the model: it is then told which of them go on."""
        levers = levers_of(text_decoder(self.model))
        return levers is not None and levers.plan is not None and levers.plan.tokens is not None

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer().decode(list(ids), skip_special_tokens=True)).strip()

    def encode(self, answer: str) -> list[int]:
        """Ends with the first of the stop ids, if there are any."""
        return [*self._tokenizer()(answer, add_special_tokens=False)["input_ids"], *self.stop_ids[:1]]

    def _tokenizer(self) -> Any:
        if self.tokenizer is None:
            raise TypeError("these prompts came without a tokenizer, so answers are tokens; give InputsPrompt the processor's (tokenizer=...)")
        return self.tokenizer

    def watched(self, recorder: Recorder) -> TokenMap:
        with steer(self.model, reweight=seeing(self.model, self.inputs, self.rules), recorder=recorder):
            ModelContinuation(self.model, self.inputs).begin()
        return token_map(self.model, self.inputs)

    def noised(self, change: Pixels) -> "InputsPrompt":
        changed = {name: changed_pixels(value, self.inputs.get(GRIDS.get(name, "")), change) if name in GRIDS else value
                   for name, value in self.inputs.items()}
        return self._with(changed)

    def without_media(self) -> "InputsPrompt":
        keep = self.inputs["attention_mask"].bool() & ~token_map(self.model, self.inputs).is_vision
        ids = {name: repacked(self.inputs[name], keep) for name in ("input_ids", *OF_TOKENS) if name in self.inputs}
        return self._with(ids)

    def steered(self, rules: Sequence[Rule]) -> "InputsPrompt":
        return InputsPrompt(self.model, self.inputs, self.tokenizer, self.stop_ids, tuple(rules), self.recorder)

    def reworded(self, change: Wording) -> Prompt:
        raise TypeError("these prompts are tokens already, so their questions cannot be put in other words; make them of samples "
                        "(mm.models.PretrainedPrompt), or read the other prompts as an InputsPrompt of their own")

    def pictured(self, change: Sequence[Picture]) -> Prompt:
        raise TypeError("the pictures of these prompts are pixels of the encoder already, so they cannot be cut or masked; make them of samples "
                        "(mm.models.PretrainedPrompt), or read the other prompts as an InputsPrompt of their own")

    def _with(self, inputs: Mapping[str, Any]) -> "InputsPrompt":
        return InputsPrompt(self.model, inputs, self.tokenizer, self.stop_ids, self.rules, self.recorder)


def under(model: PreTrainedModel, rules: Sequence[Rule] | None, recorder: Recorder | None, session: Session | None) -> Steering[PreTrainedModel]:
    return steer(model, reweight=rules, recorder=recorder, tokens=None if session is None else session.plan.tokens)


def ends_of(model: PreTrainedModel) -> tuple[int, ...]:
    """The end tokens of its generation configuration."""
    ends: Any = getattr(model.generation_config, "eos_token_id", None)
    return () if ends is None else (int(ends),) if isinstance(ends, int) else tuple(map(int, ends))


def changed_pixels(pixels: Tensor, grids: Tensor | None, change: Pixels) -> Tensor:
    """Each picture changed by itself: patches of one image or clip where `grids` [n, 3] count them, else one tile or frame. Tiles of zeros fill up a
    row that has fewer than others and stay what they are."""
    if grids is not None:
        return torch.cat([change(patches) for patches in pixels.split(grids.prod(-1).tolist())])
    tiles = pixels.flatten(0, 1) if pixels.dim() == 5 else pixels
    return torch.cat([change(tile) if bool(tile.any()) else tile for tile in tiles.split(1)]).view_as(pixels)


def repacked(table: Tensor, keep: Tensor) -> Tensor:
    """The entries of [B, N] that are kept, padded on the left with zeros, which the attention mask hides."""
    rows = [row[kept] for row, kept in zip(table, keep, strict=True)]
    length = max(map(len, rows))
    return torch.stack([pad(row, (length - len(row), 0)) for row in rows])
