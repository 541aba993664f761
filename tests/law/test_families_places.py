"""The model itself says where its tokens are: each answers to the pixels at its place, and counts and positions are the model's own."""
import re
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor

from mm.models import token_map
from tests.families import FAMILIES, IMAGE, TEXT, Family


def features(model: hf.PreTrainedModel, inputs: dict[str, Any]) -> Tensor:
    """What replaces the placeholders, in their order, [tokens, width]."""
    given = {name: inputs[name] for name in ("pixel_values", "image_sizes") if name in inputs}
    found = model.get_image_features(**given).pooler_output
    return torch.cat([part.flatten(0, -2) for part in found]) if isinstance(found, list) else found.flatten(0, -2)


def without_mixing(family: Family) -> hf.PreTrainedModel:
    """The toy with a vision tower whose patches do not see each other."""
    model = family.model()
    for name, parameter in model.named_parameters():
        if ("vision" in name or "visual" in name) and re.search(r"out_proj|projection_layer", name):
            torch.nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize("name", ["llava", "paligemma", "gemma3", "internvl", "idefics3", "smolvlm"])
def test_a_token_answers_to_the_pixels_at_its_place(name: str) -> None:
    family = FAMILIES[name]
    model, inputs = without_mixing(family), family.inputs(["IqI"])
    tokens, pixels = token_map(model, inputs), inputs["pixel_values"]
    vision = tokens[:, tokens.is_vision[0]]
    tile = (vision.row[0] + vision.col[0] == 0).cumsum(0) - 1
    side = pixels.shape[-1] // 2
    with torch.no_grad():
        before = features(model, inputs)
        for index in range(vision.shape[1]):
            row, col = int(vision.row[0, index]) * side, int(vision.col[0, index]) * side
            changed = pixels.clone()
            changed.view(-1, *pixels.shape[-3:])[tile[index], :, row:row + side, col:col + side] += 1
            assert (features(model, inputs | {"pixel_values": changed}) != before).any(-1).nonzero().flatten().tolist() == [index]


def test_a_token_of_the_mosaic_answers_to_its_tile() -> None:
    family = FAMILIES["llava_next"]
    model, inputs = without_mixing(family), family.inputs(["Iq"])
    vision = token_map(model, inputs)[:, :-1]
    with torch.no_grad():
        before = features(model, inputs)
        for row in range(2):
            for col in range(4):  # tile 0 is the whole picture, tiles 1 and 2 stand side by side
                changed = inputs["pixel_values"].clone()
                changed[0, 1 + col // 2, :, 4 * row:4 * row + 4, 4 * (col % 2):4 * (col % 2) + 4] += 1
                answers = (features(model, inputs | {"pixel_values": changed}) != before).any(-1)
                assert torch.equal(answers, ((vision.frame == 1) & (vision.row == row) & (vision.col == col))[0])


@pytest.mark.parametrize("name", ["llava_next", "llava_onevision"])
def test_pictures_of_any_size_have_the_tokens_that_the_model_packs(name: str) -> None:
    family = FAMILIES[name]
    model = family.model()
    sizes = torch.randint(2, 60, (40, 2), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        packed = model.get_image_features(torch.zeros(40, 5, 3, 8, 8), sizes).pooler_output
    counts = [len(image) for image in packed]
    assert len(set(counts)) > 3
    ids = torch.cat([torch.tensor([*[IMAGE] * count, TEXT]) for count in counts])[None]
    tokens = token_map(model, {"input_ids": ids, "image_sizes": sizes})
    assert tokens.media[tokens.is_vision].bincount().tolist() == counts


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_rows_and_columns_are_those_of_multimodal_rotary_positions(name: str) -> None:
    family = FAMILIES[name]
    model, inputs = family.model(), family.inputs(["qIIq", "qVqI"])
    tokens = token_map(model, inputs)
    wanted = {key: inputs[key] for key in ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "attention_mask")}
    _, height, width = model.model.get_rope_index(**wanted)[0]
    for b in range(2):
        for media in range(2):
            for frame in range(int(tokens.frame[b, tokens.media[b] == media].max()) + 1):
                here = (tokens.media[b] == media) & (tokens.frame[b] == frame)
                assert torch.equal(height[b, here] - height[b, here].min(), tokens.row[b, here])
                assert torch.equal(width[b, here] - width[b, here].min(), tokens.col[b, here])
