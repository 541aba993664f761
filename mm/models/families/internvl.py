"""InternVL: Zhu et al., "InternVL3: Exploring Advanced Training and Test-Time Recipes for Open-Source Multimodal Models", 2025."""
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from mm.models.families.base import Family, PlaceholderError, Stream, runs
from mm.models.families.medium import grid, pair


class InternVL(Family):
    """An image is one run of placeholders between its start and end tokens; its tiles are the map's frames in reading order, the thumbnail last.

    A frame of a clip is an image of its own: the prompt writes it as one, and the inputs do not say which clip it is from.
    """

    names = "InternVL"

    def matches(self, model: PreTrainedModel) -> bool:
        return model.config.model_type == "internvl"

    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        config, pixels = model.config, inputs.get("pixel_values")
        rows, cols = (int(size // patch * config.downsample_ratio)
                      for size, patch in zip(pair(config.vision_config.image_size), pair(config.vision_config.patch_size), strict=True))
        found = runs(ids, config.image_token_id)
        for index, run in enumerate(found):
            if (run.stop - run.start) % (rows * cols):
                image = sum(other.row == run.row for other in found[:index])
                raise PlaceholderError(f"image {image} of row {run.row} has {run.stop - run.start} placeholder tokens, and a tile of {rows} x {cols} "
                                       f"has {rows * cols}; make the inputs with this model's processor, without truncation")
        tiles = [(run.stop - run.start) // (rows * cols) for run in found]
        if sum(tiles) != (given := 0 if pixels is None else len(pixels)):
            raise PlaceholderError(f"the rows have image placeholders for {sum(tiles)} tiles of {rows} x {cols}, and pixel_values has {given}; "
                                   "pass text and pixels of the same call of this model's processor")
        return [Stream("image", config.image_token_id, [grid(rows, cols, count) for count in tiles])]
