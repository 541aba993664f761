"""A calibration set, and a model that reads it under rules. Of each answer the first token counts, so that the set costs one forward pass."""
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mm.language.anatomy import decoder_layers
from mm.models.modes import evaluating
from mm.models.steer import steer
from mm.models.vlm import VLM
from mm.reweight import Rule
from mm.sample import Sample


class Questions(Protocol):
    """A calibration set and a model that reads it. layers, heads: of the model; describe: what it is, as plain JSON values."""

    layers: int
    heads: int

    def logits(self, rules: Sequence[Rule]) -> Tensor:
        """Of the first answer token of each question under the rules, in place of those that the model has: float32 [S, vocabulary]."""

    def describe(self) -> dict[str, Any]: ...


class Samples:
    """The last question of each sample, read by a mm.VLM. batch_size: rows of a forward pass. ValueError without samples."""

    def __init__(self, vlm: VLM, samples: Sequence[Sample], batch_size: int = 16) -> None:
        if not samples:
            raise ValueError("a calibration set needs at least one sample; got none")
        self.vlm, self.batch_size = vlm, batch_size
        self.layers, self.heads = vlm.language.layers, vlm.language.heads
        self.rows = [vlm.processor.prompt(vlm.layout.alone(sample, len(sample.turns) - 1)) for sample in samples]

    def logits(self, rules: Sequence[Rule]) -> Tensor:
        with steer(self.vlm, reweight=rules):
            return torch.cat([self.vlm.next_token_logits(self.rows[start:start + self.batch_size])
                              for start in range(0, len(self.rows), self.batch_size)])

    def describe(self) -> dict[str, Any]:
        read = [part for row in self.rows for part in (row.input_ids.tobytes(), row.pixels.numpy().tobytes())]
        return {"model": type(self.vlm.language.model).__name__, "n": len(self.rows), "set": digest(read)}


class Prompts:
    """Batches of prompts as a processor of transformers made them, read by one of its models. ValueError without prompts."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Mapping[str, Any]]) -> None:
        if not prompts:
            raise ValueError("a calibration set needs at least one batch of prompts; got none")
        self.model, self.prompts = model, prompts
        self.layers, self.heads = len(decoder_layers(model)), model.config.get_text_config().num_attention_heads

    @torch.no_grad()
    def logits(self, rules: Sequence[Rule]) -> Tensor:
        with evaluating(self.model), steer(self.model, reweight=rules):
            return torch.cat([self._last(prompt) for prompt in self.prompts])

    def _last(self, prompt: Mapping[str, Any]) -> Tensor:
        """Logits [B, vocabulary] behind the last real token of each row."""
        ids = prompt["input_ids"]
        real = prompt.get("attention_mask", torch.ones_like(ids))
        behind = real.flip(1).argmax(1)  # padding at its right
        logits = self.model(**prompt, use_cache=False, logits_to_keep=int(behind.max()) + 1).logits
        return logits[torch.arange(len(ids), device=logits.device), -1 - behind].float()

    def describe(self) -> dict[str, Any]:
        read = [value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
                for prompt in self.prompts for _, value in sorted(prompt.items()) if isinstance(value, Tensor)]
        return {"model": type(self.model).__name__, "n": sum(len(prompt["input_ids"]) for prompt in self.prompts), "set": digest(read)}


def digest(parts: Sequence[bytes]) -> str:
    """Tells two sets apart."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "big") + part)
    return sha.hexdigest()[:16]
