"""Local blend in whole runs: background is the source's, words are where their recorded maps say, and nothing is carried over."""
from collections.abc import Callable
from typing import Any

import pytest
import torch

import mm
from mm.diffusion import LocalBlend, Replace, Rescale
from mm.diffusion.moment import Moment
from mm.diffusion.recorder import Recorder
from mm.diffusion.tokenise import tokenized
from mm.diffusion.words import word_keys
from mm.parts import build, describe
from tests.pipelines import flux, joint_latents, latents, stable_diffusion, stable_diffusion_3

CAT, DOG, CHINCHILLA = "a cat on a mat", "a dog on a mat", "a chinchilla on a mat"
PROMPTS = [CAT, DOG, CHINCHILLA]
WORDS = ["cat", "dog", ["chinchilla"]]


class Kept(LocalBlend):
    """Keeps the masks that it blended by."""

    def mask(self, *given: object) -> torch.Tensor:
        self.masks = [*getattr(self, "masks", []), super().mask(*given)]  # type: ignore[arg-type]
        return self.masks[-1]


@pytest.mark.parametrize("images", [1, 2])
def test_t4_background_is_the_source_s_for_all_prompts_and_pictures(images: int) -> None:
    plain = latents(PROMPTS, images)
    edit = Kept(WORDS, start_blend=0.0, threshold=(0.8, 0.8))
    with mm.control(stable_diffusion(), [Replace({"default_": 0.5}), edit], prompts=PROMPTS):
        out = latents(PROMPTS, images).unflatten(0, (3, images))
    assert len(edit.masks) == 4
    mask = edit.masks[-1]
    assert mask.shape == (3, images, 16, 16)
    assert 0 < mask[1:].float().mean() < 1
    outside = ~mask[:, :, None].expand_as(out)
    assert torch.equal(out[outside], out[:1].expand_as(out)[outside])
    assert not torch.equal(out[1:], out[:1].expand_as(out[1:]))
    assert torch.equal(out[0].flatten(), plain[:images].flatten())


@pytest.mark.parametrize("make", [stable_diffusion_3, flux], ids=["sd3", "flux"])
def test_background_is_the_source_s_in_joint_attention(make: Callable[[], Any]) -> None:
    pipe, prompts = make(), [CAT, CHINCHILLA]
    plain = joint_latents(pipe, prompts)
    edit = Kept(["cat", "chinchilla"], start_blend=0.0, threshold=(0.9, 0.3))
    with mm.control(pipe, [Replace(), Rescale("chinchilla", 3.0, mode="bias"), edit], prompts=prompts):
        out = joint_latents(pipe, prompts)
    assert torch.equal(out[0], plain[0])
    assert not torch.equal(out[1], plain[1])
    mask = edit.masks[-1][1, 0]
    assert 0 < mask.float().mean() < 1
    outside = ~(mask.flatten()[:, None] if out.dim() == 3 else mask[None]).expand_as(out[1])
    assert torch.equal(out[1][outside], out[0][outside])


def test_masks_are_those_of_the_recorded_maps_at_the_closest_resolution() -> None:
    prompts = tokenized(stable_diffusion(), PROMPTS[:2])
    recorder = Recorder([[word_keys(prompt, word)] for prompt, word in zip(prompts, WORDS, strict=False)])  # type: ignore[arg-type]
    edit = Kept(WORDS[:2], start_blend=0.0)
    with mm.control(stable_diffusion(), [Replace(), edit], prompts=PROMPTS[:2], recorders=[recorder]):
        latents(PROMPTS[:2])
    heat = torch.stack([recorder.mean(prompt, reduction=2) for prompt in range(2)])[..., 0]
    wide = torch.nn.functional.max_pool2d(heat[:, None], 3, 1, 1)[:, 0]
    masks = (wide / wide.amax((1, 2), keepdim=True) > 0.3).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(edit.masks[-1][:, 0], masks | masks[:1])
    assert 0 < masks.float().mean() < 1


def test_t3_masks_see_the_edited_maps_or_the_raw_ones_as_is_said() -> None:
    masks = {}
    for recorded in ("edited", "raw"):
        edit = Kept([["cat", "mat"], ["dog", "mat"]], start_blend=0.0, threshold=(0.9, 0.3), reduction=1, recorded=recorded)  # type: ignore[arg-type]
        with mm.control(stable_diffusion(), [Rescale("mat", -6.0, 1.0), edit], prompts=PROMPTS[:2]):
            latents(PROMPTS[:2], steps=1)
        masks[recorded] = edit.masks[0]
    assert torch.equal(masks["edited"][0], masks["raw"][0])
    assert not torch.equal(masks["edited"][1], masks["raw"][1])


def test_it_starts_late_leaves_words_out_and_does_not_remember_a_run() -> None:
    edit = Kept(WORDS[:2], threshold=(0.8, 0.8), start_blend=0.5)
    with mm.control(stable_diffusion(), [edit], prompts=PROMPTS[:2]):
        first, second = latents(PROMPTS[:2]), latents(PROMPTS[:2])
    assert torch.equal(first, second)
    assert len(edit.masks) == 4
    without = Kept(WORDS[:2], WORDS[:2], (0.8, 0.0), start_blend=0.5)  # where a word is at all, it is left out
    with mm.control(stable_diffusion(), [without], prompts=PROMPTS[:2]):
        out = latents(PROMPTS[:2])
    assert not without.masks[-1].any()
    assert torch.equal(out[0], out[1])


def test_what_cannot_be_blended_is_said_before_the_run() -> None:
    prompts = tuple(tokenized(stable_diffusion(), PROMPTS[:2]))
    with pytest.raises(ValueError, match=r"needs words for each of the 2 prompts, the source first; got \['cat'\]"):
        LocalBlend(["cat"]).check(prompts)
    with pytest.raises(ValueError, match="needs words for each of the 2 prompts, the source first; got 'my'"):
        LocalBlend("my").check(prompts)
    with pytest.raises(ValueError, match="needs substruct_words for each of the 2 prompts"):
        LocalBlend(["cat", "dog"], ["mat"]).check(prompts)
    with pytest.raises(ValueError, match="'a dog on a mat' has no word 'cat'"):
        LocalBlend(["cat", "cat"]).observers(prompts)
    with pytest.raises(ValueError, match="two shares of the maximum"):
        LocalBlend(["cat", "dog"], threshold=(0.3, 1.0))
    assert describe(build(describe(LocalBlend(WORDS)))) == describe(LocalBlend(WORDS))
    control = type("Control", (), {"moment": Moment(0, 1), "prompts": prompts})()
    with pytest.raises(ValueError, match="has seen no attention to the text"):
        LocalBlend(["cat", "dog"]).after_step(torch.zeros(2, 4, 8, 8), control)
