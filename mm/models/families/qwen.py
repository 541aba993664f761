"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: Wang et al., "Qwen2-VL: Enhancing Vision-Language Model's Perception of the World at Any Resolution", 2024."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mm.models.families.base import Family, Stream
from mm.models.families.medium import Medium, grid


class QwenVL(Family):
    """Images and clips at their own resolution, neighbouring patches merged; a frame of the map is a temporal patch (two frames of the clip).

    Qwen3-VL writes a timestamp before each of them; it is text of the prompt, and the clip goes on behind it.
    """

    names = "Qwen2-VL, Qwen2.5-VL, Qwen3-VL"

    def matches(self, model: PreTrainedModel) -> bool:
        return model.config.model_type in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")

    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        config = model.config
        merge = int(config.vision_config.spatial_merge_size)
        return [Stream("image", config.image_token_id, _media(inputs.get("image_grid_thw"), merge)),
                Stream("clip", config.video_token_id, _media(inputs.get("video_grid_thw"), merge))]


def _media(shapes: Tensor | None, merge: int) -> list[Medium]:
    """From patches in time, height and width, [n, 3]."""
    if shapes is None:
        return []
    return [grid(height // merge, width // merge, frames) for frames, height, width in torch.as_tensor(shapes).tolist()]
