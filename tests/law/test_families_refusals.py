"""Inputs whose images cannot be told are refused by row and image."""
from typing import Any

import pytest
import torch
import transformers as hf

from mm.models import token_map
from mm.models.families import PlaceholderError
from tests.families import FAMILIES, IMAGE, TEXT


def refused(name: str, prompts: list[str], **changes: Any) -> str:
    family = FAMILIES[name]
    inputs = {key: value for key, value in (family.inputs(prompts) | changes).items() if value is not None}
    with pytest.raises((PlaceholderError, TypeError, ValueError)) as caught:
        token_map(family.model(), inputs)
    return str(caught.value)


def test_a_grid_that_contradicts_the_token_count_is_named_with_its_row_and_image() -> None:
    message = refused("qwen2_5_vl", ["qIq", "IIq"], image_grid_thw=torch.tensor([[1, 4, 6], [1, 4, 6], [1, 4, 6]]))
    assert message.startswith("image 1 of row 1 (image 2 of the batch) needs 6 placeholder tokens, and the row has 4 left; make text and pixels with")
    message = refused("qwen2_5_vl", ["qIq", "IIq"], image_grid_thw=torch.tensor([[1, 4, 6], [1, 4, 6], [1, 2, 4]]))
    assert message.startswith("row 1 has 10 image placeholder tokens, and the 3 images of the batch fill 8 of them; pass everything")
    message = refused("qwen2_vl", ["qq", "Vq"], video_grid_thw=None)
    assert message.startswith("row 1 has 8 clip placeholder tokens, and the 0 clips of the batch fill 0")


def test_truncated_tiles_are_named_with_their_row_and_image() -> None:
    ids = FAMILIES["internvl"].inputs(["qIIq"])["input_ids"]
    ids[0, ids[0].eq(IMAGE).nonzero()[-1]] = TEXT
    assert refused("internvl", ["qIIq"], input_ids=ids).startswith("image 1 of row 0 has 3 placeholder tokens, and a tile of 2 x 2 has 4")
    assert "for 4 tiles of 2 x 2, and pixel_values has 1" in refused("internvl", ["qIIq"], pixel_values=torch.ones(1, 3, 8, 8))
    ids = FAMILIES["smolvlm"].inputs(["qIq", "qq"])["input_ids"]
    message = refused("smolvlm", ["qIq", "qq"], pixel_values=torch.ones(2, 2, 3, 8, 8))
    assert message.startswith("row 0 has image placeholders for 3 tiles, and its pixel_values have 2")
    ids[0, ids[0].eq(IMAGE).nonzero()[-1]] = TEXT
    assert refused("smolvlm", ["qIq", "qq"], input_ids=ids).startswith("row 0 has 3 image placeholders in a run at token")


def test_inputs_that_say_nothing_are_refused() -> None:
    assert "the inputs have none (inputs_embeds do not say where images are)" in refused("llava", ["qI"], input_ids=None)
    assert "pass the 2-D mask" in refused("llava", ["qI"], attention_mask=torch.ones(1, 1, 5, 5))
    assert "attention_mask is dict" in refused("llava", ["qI"], attention_mask={"full_attention": None})


def test_a_model_without_placeholders_is_refused_with_what_is_known() -> None:
    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = hf.GitForCausalLM(hf.GitConfig(vision_config=small, vocab_size=32, **small))
    with pytest.raises(TypeError, match=r"GitForCausalLM lays out its prompts; known are .*LLaVA-1.5.*Gemma 3.*Give an explicit `tokens=` map"):
        token_map(model, {"input_ids": torch.ones(1, 3, dtype=torch.long)})
