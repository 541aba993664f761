"""Idefics3 and SmolVLM: Laurençon et al., "Building and better understanding vision-language models", 2024; Marafioti et al., "SmolVLM", 2025."""
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from mm.models.families.base import Family, PlaceholderError, Run, Stream, runs
from mm.models.families.medium import grid, pair


class Idefics(Family):
    """A large picture is cut into tiles, which are the map's frames in reading order; the whole picture, reduced to one tile, is the last frame.

    The prompt writes a tag before each tile, `<row_i_col_j>` or `<global-img>`. Their ids depend on the tokenizer, but a picture always ends with the
    latter: the tag of a row's last tile is known to be it, and every tile with that tag ends a picture. Where the prompt has no tags, each tile is an
    image of its own, and so is each frame of a clip, which the prompt writes as an image.
    """

    names = "Idefics3, SmolVLM"

    def matches(self, model: PreTrainedModel) -> bool:
        return model.config.model_type in ("idefics3", "smolvlm")

    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        config = model.config
        rows, cols = (size // patch // int(config.scale_factor)
                      for size, patch in zip(pair(config.vision_config.image_size), pair(config.vision_config.patch_size), strict=True))
        found = runs(ids, config.image_token_id)
        sizes: list[int] = []
        for row, here in enumerate(ids.tolist()):
            mine = [tile for run in found if run.row == row for tile in _tiles(run, rows * cols)]
            _check(row, len(mine), inputs.get("pixel_values"))
            sizes += pictures(here, mine)
        return [Stream("image", config.image_token_id, [grid(rows, cols, tiles) for tiles in sizes])]


def pictures(ids: list[int], tiles: list[Run]) -> list[int]:
    """How many tiles each picture of a row has."""
    if not tiles:
        return []
    fence = ids[tiles[-1].stop] if tiles[-1].stop < len(ids) else None
    tags, before = [], 0
    for tile in tiles:
        between = ids[before:tile.start]
        tags.append(between[len(between) - between[::-1].index(fence):] if fence in between else [])
        before = tile.stop
    ends = [index + 1 for index, tag in enumerate(tags) if tag == tags[-1]]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _tiles(run: Run, size: int) -> list[Run]:
    if (run.stop - run.start) % size:
        raise PlaceholderError(f"row {run.row} has {run.stop - run.start} image placeholders in a run at token {run.start}, and a tile has {size}; "
                               "make the inputs with this model's processor, without truncation")
    return [Run(run.row, start, start + size) for start in range(run.start, run.stop, size)]


def _check(row: int, found: int, pixels: Tensor | None) -> None:
    """pixels: [B, tiles, 3, H, W]; all zeros where a row has fewer tiles than another, which is how these models find out too."""
    expected = 0 if pixels is None else int((pixels[row] != 0).flatten(1).any(1).sum())
    if found != expected:
        raise PlaceholderError(f"row {row} has image placeholders for {found} tiles, and its pixel_values have {expected}; "
                               "make the inputs with this model's processor, without truncation")
