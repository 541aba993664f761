"""Maps of where an answer looked are the model's own attention; maps of what decided it are its own change of mind."""
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from mm.analysis import Direct, Rollout, looks, occlusion
from mm.analysis.attention import placed
from mm.language import Fresh, WordLevel
from mm.masks import ImageBlock
from mm.models import VLM, Branches, Dialogue
from mm.positions import Restart
from mm.sample import Media, Sample, Turn
from mm.streams import FrameProjector, Grid, Pool2d
from mm.vision import ConvViT
from tests.vlms import CONFIG, WORDS, about, picture, toy

FAMILIES = ("llama", "qwen3")


def dense_attention(vlm: VLM, sample: Sample) -> tuple[Tensor, Tensor]:
    """Every layer's weights averaged over heads, [L, N, N], from the stock eager attention; and which tokens are visual, [N]."""
    batch = vlm.processor.collate([vlm.processor.prompt(sample)])
    vlm.language.model.set_attn_implementation("eager")
    with torch.no_grad():
        out = vlm.language.model(inputs_embeds=vlm.embed(batch), output_attentions=True, use_cache=False)
    vlm.language.model.set_attn_implementation("mm")
    return torch.stack([layer[0].mean(0) for layer in out.attentions]), batch.tokens.is_vision[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_direct_is_the_last_prompt_row_of_dense_attention(family: str) -> None:
    vlm, sample = toy(family), about(1)
    dense, visual = dense_attention(vlm, sample)
    (first, *_), = looks(vlm, [sample], Direct())
    np.testing.assert_allclose(first.maps[0][0].ravel(), dense.mean(0)[-1, visual], atol=1e-6)
    (last_layer, *_), = looks(vlm, [sample], Direct([-1]))
    np.testing.assert_allclose(last_layer.maps[0][0].ravel(), dense[-1, -1, visual], atol=1e-6)


@pytest.mark.parametrize("residual", [0.0, 0.5])
def test_rollout_is_the_product_of_layers_whose_visual_rows_stand_for_themselves(residual: float) -> None:
    vlm, sample = toy(), about(2)
    dense, visual = dense_attention(vlm, sample)
    identity = torch.eye(dense.shape[1])
    product = identity
    for layer in dense:
        layer = residual * identity + (1 - residual) * layer
        layer[visual] = identity[visual]
        product = layer @ product
    (first, *_), = looks(vlm, [sample], Rollout(residual=residual))
    np.testing.assert_allclose(first.maps[0][0].ravel(), product[-1, visual], atol=1e-6)


@pytest.mark.parametrize("reading", [Direct(), Rollout()])
def test_the_first_look_is_the_prompt_s_whatever_the_answer(reading: Direct | Rollout) -> None:
    vlm = toy(mask=ImageBlock(), positions=Restart(), layout=Branches())
    question = "is there a ring ?"
    with_answer, without = looks(vlm, [about(3, (question, "yes there is")), about(3, (question, ""))], reading)
    assert [look.token for look in with_answer][:3] == ["yes", "there", "is"]
    assert len(without) == 1
    np.testing.assert_allclose(with_answer[0].maps[0], without[0].maps[0], atol=1e-6)


@pytest.mark.parametrize("layout", [Dialogue(), Branches()])
def test_a_look_is_the_same_alone_and_beside_longer_samples(layout: Dialogue | Branches) -> None:
    vlm = toy(layout=layout)
    short, long = about(4, ("star ?", "no")), about(5, ("what do you see ?", "a red star , a blue ring and a green circle ."))
    together = looks(vlm, [short, long])
    for found, sample in zip(together, (short, long), strict=True):
        for beside, alone in zip(found, looks(vlm, [sample])[0], strict=True):
            np.testing.assert_allclose(beside.maps[0], alone.maps[0], atol=1e-6)


def test_only_the_last_turn_is_looked_at() -> None:
    vlm = toy()
    (found,) = looks(vlm, [about(6, ("is there a star ?", "yes"), ("is there a ring ?", "no"))])
    assert found[0].token == "no"


def test_each_picture_and_frame_has_its_own_map() -> None:
    vlm = toy()
    sample = Sample("two", (picture(0), picture(1, frames=3)), (Turn("<image> <video> what do you see ?", "star"),))
    look = looks(vlm, [sample])[0][0]
    assert [place.shape for place in look.maps] == [(1, 2, 2), (3, 2, 2)]
    assert 0 < look.mass < 1


def test_a_model_is_as_it_was_after_being_looked_into() -> None:
    vlm = toy()
    before = vlm.next_token_logits([about(1)])
    looks(vlm.train(), [about(1)])
    assert vlm.training
    assert torch.equal(vlm.eval().next_token_logits([about(1)]), before)


def test_a_layer_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="layer 7, and the model has layers 0 to 1"):
        looks(toy(), [about(1)], Direct([7]))


class Pooled(FrameProjector):
    """One token a frame, which has no place."""

    def out_grid(self, grid: Grid) -> None:
        return None

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        return frames

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        return x.mean(1, keepdim=True).repeat(1, 1, 2)


def test_tokens_without_a_place_are_refused_with_a_reason() -> None:
    vlm = VLM(ConvViT(image_size=16, width=16, depth=1, heads=2), Pooled(16, 32), Fresh({"model_type": "llama", **CONFIG}, WordLevel(WORDS)))
    with pytest.raises(ValueError, match="the tokens of Pooled have no place in the picture"):
        looks(vlm, [about(1)])


def test_newlines_are_in_no_map() -> None:
    vlm = toy(projector=partial(Pool2d, stride=2, newline="row"), image_size=32)
    batch = vlm.processor.collate([vlm.processor.encode(about(1))])
    weights = torch.arange(batch.tokens.shape[1], dtype=torch.float32)
    (drawn,) = placed(batch, 0, weights, (2, 2))
    first = int(batch.tokens.is_vision[0].long().argmax())
    assert drawn.tolist() == [[[first, first + 1], [first + 3, first + 4]]]
    (look, *_), = looks(vlm, [about(1)])
    assert look.maps[0].shape == (1, 2, 2)


# --- occlusion


def test_occlusion_is_the_change_of_the_token_s_log_odds() -> None:
    vlm, sample = toy(), about(1)
    heat = occlusion(vlm, sample, places=(2, 2))
    yes = vlm.processor.first_id("yes")

    def odds(pixels: np.ndarray) -> float:
        p = vlm.next_token_logits([Sample("", (Media(pixels[None]),), sample.turns)]).softmax(-1)[0, yes]
        return float((p / (1 - p)).log())

    pixels = sample.media[0].frames[0]
    median = torch.from_numpy(pixels).flatten(0, 1).float().median(0).values.numpy()
    for row, col in itertools.product(range(2), range(2)):
        cover = np.zeros((16, 16))
        for y, x in itertools.product(range(16), range(16)):
            cover[y, x] = (np.clip(1.5 - abs((y + 0.5) / 8 - row - 0.5), 0, 1)) * (np.clip(1.5 - abs((x + 0.5) / 8 - col - 0.5), 0, 1))
        hidden = np.rint(pixels * (1 - cover[..., None]) + median * cover[..., None]).astype(np.uint8)
        assert heat[row, col] == pytest.approx(odds(pixels) - odds(hidden), abs=2e-3)


def test_a_model_that_does_not_see_is_decided_by_no_place() -> None:
    vlm = toy()
    with torch.no_grad():
        for parameter in vlm.projector.parameters():
            parameter.zero_()
    assert np.abs(occlusion(vlm, about(1), places=(3, 4))).max() < 1e-5
    assert occlusion(vlm, about(1), places=(3, 4)).shape == (3, 4)


def test_occlusion_refuses_what_it_cannot_hide() -> None:
    vlm = toy()
    with pytest.raises(ValueError, match="no token 9"):
        occlusion(vlm, about(1), token=9)
    with pytest.raises(ValueError, match="one image"):
        occlusion(vlm, Sample("clip", (picture(0, frames=2),), (Turn("<video> what ?", "star"),)))
