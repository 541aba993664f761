"""MULTI-LANE: lanes do not see each other, and the transformer beside them stays frozen."""
import pytest
import torch

from mm.parts import build, describe
from mm.vision.attention import MultiLane, lane_block, summaries
from mm.vision.attention.lanes import Places
from tests.double import close, fresh, random

TINY = {"embed_dim": 16, "depth": 3, "num_heads": 2}


def lanes_of(**settings: object) -> MultiLane:
    torch.manual_seed(0)
    model = MultiLane("vit_tiny_patch16_224", classes=[2, 3, 1], selectors=4, prompts=2, prompted=2, pretrained=False, image_size=32, overrides=TINY,
                      **settings)
    for parameter in (model.selector, model.prompt):
        parameter.data.normal_()
    return model


def test_a_summary_with_a_selector_of_zero_is_the_mean() -> None:
    x = random(2, 5, 4)
    close(summaries(torch.zeros(3, 2, 2, 4, dtype=torch.float64), x), x.mean(1).expand(3, 2, -1)[:, :, None].expand(-1, -1, 2, -1))


@pytest.mark.parametrize("places", ["replace", "carry"])
def test_a_lane_alone_is_the_lane_among_others(places: Places) -> None:
    model, pictures = lanes_of(places=places), torch.randn(2, 3, 32, 32)
    every = model(pictures)
    assert every.shape == (2, 6)
    assert every.isfinite().all()
    for task in range(3):
        alone = model(pictures, tasks=[task])
        mine = model.task == task
        torch.testing.assert_close(alone[:, mine], every[:, mine], rtol=0, atol=2e-6)
        assert alone[:, ~mine].isneginf().all()


@pytest.mark.parametrize("places", ["replace", "carry"])
def test_a_lane_is_its_blocks_one_after_the_other_and_speaks_by_its_direction(places: Places) -> None:
    """What is carried on is summarised in the first block only."""
    model, pictures = lanes_of(places=places), torch.randn(2, 3, 32, 32)
    x = model.vit.norm_pre(model.vit._pos_embed(model.vit.patch_embed(pictures)))
    lane = torch.cat([x[None, :, :1], model.selector[2:, None].expand(-1, 2, -1, -1)], 2)
    for layer, block in enumerate(model.vit.blocks):
        prompts = model.prompt[layer][:, 2:] if layer < 2 else None
        lane, x = lane_block(block, x, lane, prompts, places, summarise=places == "replace" or layer == 0), block(x)
    token = model.vit.norm(lane[0, :, 0])
    logit = model.classify(token / token.norm(dim=-1, keepdim=True))[:, 5]
    torch.testing.assert_close(model(pictures)[:, 5], logit, rtol=0, atol=2e-6)


def test_training_a_lane_touches_no_other_and_not_the_transformer() -> None:
    model = lanes_of().train()
    assert not model.vit.training
    logits = model(torch.randn(2, 3, 32, 32), tasks=[1])
    logits[:, model.task == 1].sum().backward()
    assert all(parameter.grad is None for parameter in model.vit.parameters())
    for table in (model.selector.grad, model.prompt.grad.transpose(0, 2).flatten(1, 2)):
        assert (table.flatten(1).abs().sum(1) > 0).tolist() == [False, True, False]


def test_gradients_of_a_lane_block_are_those_of_finite_differences() -> None:
    from timm.models.vision_transformer import Block

    block, x = fresh(Block(8, 2, qkv_bias=True)), random(1, 5, 8)
    lanes, prompts = random(2, 1, 3, 8, seed=1).requires_grad_(), random(2, 2, 2, 2, 4, seed=2).requires_grad_()
    for places in ("replace", "carry"):
        assert torch.autograd.gradcheck(lambda *inputs, places=places: lane_block(block, x, *inputs, places), (lanes, prompts), fast_mode=True)


def test_lanes_are_built_again_from_their_description() -> None:
    model = lanes_of()
    again = build(describe(model, offline=True))
    again.load_state_dict(model.state_dict())
    pictures = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(pictures), model(pictures))


def test_lanes_refuse_a_transformer_without_a_class_token() -> None:
    with pytest.raises(ValueError, match="has no class token alone before its patches"):
        MultiLane("vit_tiny_patch16_224", [2], pretrained=False, overrides={**TINY, "class_token": False, "global_pool": "avg"})
    with pytest.raises(ValueError, match="has 3 layers, of which 4 cannot be prompted"):
        MultiLane("vit_tiny_patch16_224", [2], prompted=4, pretrained=False, overrides=TINY)
