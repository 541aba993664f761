"""The token sets of PAINT for pictures, from the vision tower of the model that is about to read them."""
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mm.models.vlm import VLM
from mm.reweight import token_sets
from mm.vision import Transformers
from mm.vision.class_token import class_rows


def picture_sets(model: VLM | PreTrainedModel, pixels: Tensor, images: Sequence[int] | None = None, local_share: float = 0.25) -> Tensor:
    """Sets [B, V] for `mm.reweight.PAINT().on(...)`: 0, LOCAL = 1 or SUMMARY = 2 for each vision token of each row, rows filled up with 0.

    model: LLaVA-1.5, or a VLM of parts whose encoder is a CLIP of transformers and whose projector keeps one token a patch. pixels: what the model
    reads: `pixel_values` of its processor, or uint8 frames of a batch. images: how many of them each row has; one each by default. Rows that are read
    several times, as beams are, need theirs as often (`repeat_interleave`).

    TypeError for a model without a class token, ValueError where tokens are not the patches in order or `images` does not add up.
    """
    tower, inputs = tower_and_inputs(model, pixels)
    first, penultimate = class_rows(tower, inputs, (0, -2))
    sets = token_sets(first, penultimate, local_share)
    counts = [1] * len(sets) if images is None else list(images)
    if sum(counts) != len(sets):
        raise ValueError(f"the rows have {sum(counts)} images together, and there are {len(sets)}; `images` says how many each row has")
    return nn.utils.rnn.pad_sequence([torch.cat([sets.new_empty(0), *row]) for row in sets.split(counts)], batch_first=True)


def tower_and_inputs(model: VLM | PreTrainedModel, pixels: Tensor) -> tuple[nn.Module, Tensor]:
    """The vision tower, and the pixels as it takes them."""
    if isinstance(model, VLM):
        encoder = model.vision
        if not isinstance(encoder, Transformers):
            raise TypeError(f"{type(encoder).__name__} has no class token whose attention can be seen; build the model with mm.vision.Transformers "
                            "and a CLIP")
        patches, made = encoder.grid[0] * encoder.grid[1], model.processor.geometry.tokens
        if made != patches:
            raise ValueError(f"{type(model.projector).__name__} makes {made} tokens of {patches} patches, and PAINT's sets are of patches; use a "
                             "projector that keeps them, such as mm.streams.MLP")
        return encoder.model, encoder.normalised(pixels.to(encoder.scale.device))
    config = model.config
    if config.model_type != "llava" or config.vision_feature_select_strategy != "default":
        raise ValueError(f"{type(model).__name__} does not read the patches of one picture in order, and nothing else, as LLaVA-1.5 does; PAINT is "
                         "not defined for it")
    return model.base_model.vision_tower, pixels  # type: ignore[return-value]
