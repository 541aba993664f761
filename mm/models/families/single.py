"""PaliGemma and Gemma 3: every image is one square grid of the same size.

Beyer et al., "PaliGemma: A versatile 3B VLM for transfer", 2024; Gemma Team, "Gemma 3 Technical Report", 2025.
"""
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from mm.models.families.base import Family, Stream
from mm.models.families.medium import grid, pair


class PaliGemma(Family):
    """One token a patch."""

    names = "PaliGemma"

    def matches(self, model: PreTrainedModel) -> bool:
        return model.config.model_type == "paligemma"

    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        vision, pixels = model.config.vision_config, inputs.get("pixel_values")
        (height, width), patch = pair(vision.image_size), pair(vision.patch_size)
        image = grid(height // patch[0], width // patch[1])
        return [Stream("image", model.config.image_token_id, [image] * (0 if pixels is None else len(pixels)))]


class Gemma3(Family):
    """Patches pooled to `mm_tokens_per_image`. The crops of pan-and-scan are images of their own, since the inputs do not say whose they are."""

    names = "Gemma 3"

    def matches(self, model: PreTrainedModel) -> bool:
        return model.config.model_type == "gemma3"

    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        side, pixels = int(model.config.mm_tokens_per_image**0.5), inputs.get("pixel_values")
        return [Stream("image", model.config.image_token_id, [grid(side, side)] * (0 if pixels is None else len(pixels)))]
