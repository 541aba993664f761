"""MULTI-LANE refuses what it would compute wrongly: blocks of another form, and tasks that there are not."""
import pytest
import torch

from mm.vision.attention import MultiLane, lane_block

TINY = {"embed_dim": 16, "depth": 2, "num_heads": 2}


def lanes_of(**overrides: object) -> MultiLane:
    return MultiLane("vit_tiny_patch16_224", [2, 3], selectors=4, prompts=2, prompted=2, pretrained=False, image_size=32,
                     overrides={**TINY, **overrides})


@pytest.mark.parametrize("overrides", [{}, {"qk_norm": True}, {"init_values": 0.1}, {"scale_mlp_norm": True}, {"proj_bias": False}])
def test_a_lane_of_the_frozen_tokens_themselves_is_the_frozen_block(overrides: dict[str, object]) -> None:
    vit = lanes_of(**overrides).vit
    for parameter in vit.parameters():
        parameter.data.normal_(0, 0.3)
    x = torch.randn(2, 5, 16)
    for block in vit.blocks:
        torch.testing.assert_close(lane_block(block, x, x[None], None, "carry", summarise=False)[0], block(x))


@pytest.mark.parametrize("overrides", [{"scale_attn_norm": True}, {"attn_layer": "diff"}])
def test_blocks_of_another_form_are_refused(overrides: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="vit_tiny_patch16_224 has blocks of another form"):
        lanes_of(**overrides)


def test_a_transformer_with_relative_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="vit_relpos_medium_patch16_cls_224 has blocks of another form"):
        MultiLane("vit_relpos_medium_patch16_cls_224", [2], prompted=2, pretrained=False, image_size=32, overrides=TINY)


@pytest.mark.parametrize("tasks", [[-1], [2], [0, 2], []])
def test_tasks_that_there_are_not_are_refused(tasks: list[int]) -> None:
    """The last lane, asked for as -1, would speak for no class."""
    with pytest.raises(ValueError, match="tasks 0 to 1"):
        lanes_of()(torch.randn(1, 3, 32, 32), tasks=tasks)
