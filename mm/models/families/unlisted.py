"""Models that nobody described here."""
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from mm.models.families.base import Family, PlaceholderError, Stream, runs
from mm.models.families.medium import placeless


class TextOnly(Family):
    """A plain causal LM: no placeholders."""

    names = "causal LMs"

    def matches(self, model: PreTrainedModel) -> bool:
        return model.config.get_text_config() is model.config and getattr(model.config, "vision_config", None) is None

    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        return []


class OneRunAnImage(Family):
    """Any model with an `image_token_id` whose prompt has as many runs of it as there are images: a run is an image, and no token has a place.

    Our choice: levers that need no grid work on models that are not listed; those that need one see -1 and say so.
    """

    names = "any model whose images are single runs of its image_token_id (without grids)"

    def matches(self, model: PreTrainedModel) -> bool:
        return getattr(model.config, "image_token_id", None) is not None

    def streams(self, model: PreTrainedModel, ids: Tensor, inputs: Mapping[str, Any]) -> Sequence[Stream]:
        found, pixels = runs(ids, model.config.image_token_id), inputs.get("pixel_values")
        if len(found) != (given := 0 if pixels is None else len(pixels)):
            raise PlaceholderError(f"{type(model).__name__} is not a model whose prompts mm knows, and its rows have {len(found)} runs of image "
                                   f"placeholders for {given} pixel_values, so its images cannot be told apart; give an explicit `tokens=` map")
        return [Stream("image", model.config.image_token_id, [placeless(run.stop - run.start) for run in found])]
