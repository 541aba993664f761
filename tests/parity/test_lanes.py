"""A lane through a frozen block against the original code."""
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import Block

from mm.vision.attention import lane_block
from tests.golden import close, load, weights


@pytest.mark.parametrize(("case", "places"), [("multilane_plain", "replace"), ("multilane_prompts", "replace"),
                                              ("multilane_no_drop_replace_first", "carry")])
def test_a_lane_block_equals_the_original(case: str, places: Any) -> None:
    golden = load("projectors", case)
    stored = weights(golden)
    prompts = stored.pop("attn.prompts", None)
    block = Block(golden.x.shape[-1], int(golden.num_heads), qkv_bias=True).eval()
    block.load_state_dict(stored)
    with torch.no_grad():
        close(block(golden.x), golden.x_out)
        close(lane_block(block, golden.x, golden.tokens, prompts, places), golden.tokens_out)
