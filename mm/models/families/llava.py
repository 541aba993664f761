"""LLaVA-1.5: Liu et al., "Improved Baselines with Visual Instruction Tuning", 2024. One token a patch, one grid an image."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mm.models.families.base import Family, Stream
from mm.models.families.medium import Medium, grid, joined, pair, placeless


class Llava(Family):
    """Grids of height // patch x width // patch; where `image_sizes` are given (Pixtral's tower), each image has its own.

    A class token that is kept (`vision_feature_select_strategy="full"`) stands before the grid, without a place. Where the strategy drops the first
    token of a tower that has no class token, the upper left patch is missing, and the image is left without places.
    """

    names = "LLaVA-1.5"

    def matches(self, model: PreTrainedModel) -> bool:
        return model.config.model_type == "llava"

    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        config, pixels = model.config, inputs.get("pixel_values")
        if pixels is None:
            return [Stream("image", config.image_token_id, [])]
        patch = pair(config.vision_config.patch_size)
        given = inputs.get("image_sizes")
        sizes = [tuple(pixels.shape[-2:])] * len(pixels) if given is None else torch.as_tensor(given).tolist()
        extra = _has_class_token(model.base_model.get_submodule("vision_tower")) - (config.vision_feature_select_strategy == "default")
        return [Stream("image", config.image_token_id, [_image(height // patch[0], width // patch[1], extra) for height, width in sizes])]


def _image(rows: int, cols: int, extra: int) -> Medium:
    if extra < 0:
        return placeless(rows * cols + extra, frame=0)
    return joined(placeless(extra, frame=0), grid(rows, cols))


def _has_class_token(tower: nn.Module) -> bool:
    return any(name.endswith(("class_embedding", "cls_token")) for name, _ in tower.named_parameters())
