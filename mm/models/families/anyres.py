"""LLaVA-NeXT and LLaVA-OneVision: a picture at any resolution, as the whole and as a mosaic of tiles.

Liu et al., "LLaVA-NeXT: Improved reasoning, OCR, and world knowledge", 2024; Li et al., "LLaVA-OneVision: Easy Visual Task Transfer", 2024.
"""
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.image_processing_utils import select_best_resolution

from mm.models.families.base import Family, Stream
from mm.models.families.medium import Medium, grid, joined, lines, placeless


class LlavaNext(Family):
    """Frame 0 is the whole picture in one tile; frame 1 is the mosaic, cut to the picture's shape, each of its rows ended by a newline token."""

    names = "LLaVA-NeXT"

    def matches(self, model: PreTrainedModel) -> bool:
        return model.config.model_type == "llava_next"

    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        config, sizes = model.config, inputs.get("image_sizes")
        given = [] if sizes is None else torch.as_tensor(sizes).tolist()
        return [Stream("image", config.image_token_id, [_anyres(config, size, limit=None) for size in given])]


class LlavaOnevision(Family):
    """As LLaVA-NeXT, with a mosaic that is reduced where it has too many tokens. In a row with several images each is one tile and a newline token.

    A clip has pooled frames, and one newline token behind the last of them, which belongs to no frame.
    """

    names = "LLaVA-OneVision"

    def matches(self, model: PreTrainedModel) -> bool:
        return model.config.model_type == "llava_onevision"

    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        config, sizes, clips = model.config, inputs.get("image_sizes"), inputs.get("pixel_values_videos")
        given = [] if sizes is None else torch.as_tensor(sizes).tolist()
        in_row = inputs.get("batch_num_images")
        alone = [True] * len(given) if in_row is None else [count == 1 for count in torch.as_tensor(in_row).tolist() for _ in range(count)]
        limit, side = int(config.vision_aspect_ratio.removeprefix("anyres_max_")), _side(config)
        single = joined(grid(side, side), placeless(1, frame=0))
        images = [_anyres(config, size, limit) if single_image else single for size, single_image in zip(given, alone, strict=True)]
        half = math.ceil(side / 2)
        videos = [] if clips is None else [joined(grid(half, half, len(clip)), placeless(1)) for clip in clips]
        return [Stream("image", config.image_token_id, images), Stream("clip", config.video_token_id, videos)]


def _anyres(config: PreTrainedConfig, size: Sequence[int], limit: int | None) -> Medium:
    """size: (height, width) of the picture in pixels; limit: how many tiles' worth of tokens the mosaic may have, None for any number."""
    side = _side(config)
    tiled = select_best_resolution((size[0], size[1]), config.image_grid_pinpoints)
    rows, cols = _cut(*(length // config.vision_config.image_size * side for length in tiled), *size)
    ratio = 0.0 if limit is None else math.sqrt(rows * cols / (limit * side**2))
    if ratio > 1.1:
        rows, cols = int(rows // ratio), int(cols // ratio)
    return joined(grid(side, side), lines(rows, cols, frame=1))


def _cut(rows: int, cols: int, height: int, width: int) -> tuple[int, int]:
    """The part of a mosaic of rows x cols that a picture of height x width fills: the processor centred it on black."""
    if width / height > cols / rows:
        return rows - (rows - int(round(height * (cols / width), 7))) // 2 * 2, cols
    return rows, cols - (cols - int(round(width * (rows / height), 7))) // 2 * 2


def _side(config: PreTrainedConfig) -> int:
    return int(config.vision_config.image_size // config.vision_config.patch_size)
