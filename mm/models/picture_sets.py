"""The token sets of PAINT for pictures, from the vision tower of the model that is about to read them."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mm.language.anatomy import text_decoder
from mm.language.door import levers_of
from mm.models.families import token_map
from mm.models.steer import steer
from mm.reweight import PAINT, Rule, token_sets
from mm.vision import Transformers, VisionEncoder
from mm.vision.class_token import class_rows, self_attentions

if TYPE_CHECKING:
    from mm.models.batch import Batch
    from mm.models.vlm import VLM


def picture_sets(model: VLM | PreTrainedModel, pixels: Tensor, images: Sequence[int] | None = None, local_share: float = 0.25) -> Tensor:
    """Sets [B, V] for `mm.reweight.PAINT().on(...)`: 0, LOCAL = 1 or SUMMARY = 2 for each vision token of each row, rows filled up with 0.

    model: LLaVA-1.5, or a VLM of parts whose encoder has a class token (CLIP of transformers or open_clip, a plain vision transformer of timm) and
    whose projector keeps one token a patch. pixels: what the model reads: `pixel_values` of its processor, or uint8 frames of a batch. images: how
    many of them each row has; one each by default. Rows that are read several times, as beams are, need theirs as often (`repeat_interleave`).

    TypeError for a model without a class token, ValueError where tokens are not the patches in order or `images` does not add up.
    """
    if isinstance(model, PreTrainedModel):
        tower, inputs, patches, layers = *pretrained_tower(model, pixels), patches_of(model), (0, -2)
    else:
        tower, patches = model.vision, one_token_a_patch(model)
        inputs, layers = tower.normalised(pixels.to(tower.scale.device)), (0, penultimate(tower))
    rows = [row[..., -(1 + patches):] for row in class_rows(tower, inputs, layers)]  # what stands before the patches is looked at by none
    sets = token_sets(rows[0], rows[1], local_share)
    counts = [1] * len(sets) if images is None else list(images)
    if sum(counts) != len(sets):
        raise ValueError(f"the rows have {sum(counts)} images together, and there are {len(sets)}; `images` says how many each row has")
    return nn.utils.rnn.pad_sequence([torch.cat([sets.new_empty(0), *row]) for row in sets.split(counts)], batch_first=True)


def seen_by(rules: Sequence[Rule], vlm: VLM, batch: Batch) -> Sequence[Rule]:
    """The rules, those that want the sets of pictures with the sets of these; the very same where none does. ValueError where there are none to
    have."""
    if not len(batch.pixels) or not any(wants_sets(rule) for rule in rules):
        return rules
    images = batch.tokens.is_vision.sum(1) // one_token_a_patch(vlm)
    return vlm.language.rules(with_sets(rules, vlm, batch.pixels, images.tolist()))


def seeing(model: PreTrainedModel, inputs: Mapping[str, Any], rules: Sequence[Rule] | None = None) -> Sequence[Rule] | None:
    """The rules, or for None those that lie on the model, with the sets of these inputs' pictures; None where there is nothing to put in their
    place. ValueError where there are none to have."""
    levers = levers_of(text_decoder(model))
    plan = None if levers is None else levers.plan
    given: Sequence[Any] = rules if rules is not None else () if plan is None else plan.rules or ()
    pixels = inputs.get("pixel_values")
    if pixels is None or not any(wants_sets(rule) for rule in given):
        return rules
    pretrained_tower(model, pixels)  # refuses another family, before its tokens are counted
    images = token_map(model, inputs).is_vision.sum(1) // patches_of(model)
    return tuple(with_sets(given, model, pixels, images.tolist()))


def under_sets(model: PreTrainedModel, inputs: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """Within, the rules that lie on the model know the sets of these inputs' pictures."""
    rules = seeing(model, inputs)
    return nullcontext() if rules is None else steer(model, reweight=rules)


def wants_sets(rule: Rule) -> bool:
    return isinstance(rule, PAINT) and rule.sets is None and not rule.is_neutral


def with_sets(rules: Sequence[Rule], model: VLM | PreTrainedModel, pixels: Tensor, images: Sequence[int]) -> list[Rule]:
    try:
        sets = picture_sets(model, pixels, images)
    except TypeError as error:  # a lever that this model cannot have is a wrong choice of its user, like one that asks for a layer too many
        raise ValueError(f"PAINT cannot act: {error}") from error
    return [rule.on(sets) if isinstance(rule, PAINT) and wants_sets(rule) else rule for rule in rules]


def penultimate(encoder: VisionEncoder) -> int:
    """Which of the layers that an encoder still has is the one before the last of those that it was trained with."""
    if isinstance(encoder, Transformers):
        return -2
    return len(self_attentions(encoder)) - 3 - int(getattr(encoder, "layer", -1))  # those behind the layer that is taken are gone


def one_token_a_patch(vlm: VLM) -> int:
    """Patches of a picture. ValueError where tokens are not the patches in order."""
    patches, made = vlm.vision.grid[0] * vlm.vision.grid[1], vlm.processor.geometry.tokens
    if made != patches:
        raise ValueError(f"{type(vlm.projector).__name__} makes {made} tokens of {patches} patches, and PAINT's sets are of patches; use a "
                         "projector that keeps them, such as mm.streams.MLP, and keep all of them")
    return patches


def pretrained_tower(model: PreTrainedModel, pixels: Tensor) -> tuple[nn.Module, Tensor]:
    """The vision tower, and the pixels as it takes them. ValueError for a model whose vision tokens are something else than patches in order."""
    config = model.config
    if config.model_type != "llava" or config.vision_feature_select_strategy != "default":
        raise ValueError(f"{type(model).__name__} does not read the patches of one picture in order, and nothing else, as LLaVA-1.5 does; PAINT is "
                         "not defined for it")
    return model.base_model.vision_tower, pixels  # type: ignore[return-value]


def patches_of(model: PreTrainedModel) -> int:
    vision: Any = model.config.vision_config
    return int((vision.image_size // vision.patch_size) ** 2)
