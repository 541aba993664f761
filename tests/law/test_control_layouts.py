"""Pipelines whose batches are laid out in their own ways, and gradients: what a fixed reading of the batch, or a cache, gets wrong."""
import pytest
import torch
from diffusers import SCMScheduler, StableDiffusionPAGPipeline
from torch import Tensor

import mm
from mm.diffusion import Branches, LocalBlend, Recorder, Replace, Rescale, Row, SelfInject, Site, View, WordEdit, tokenized
from mm.diffusion.columns import Columns
from mm.diffusion.edits.self_inject import GENERATED
from mm.diffusion.moment import Moment
from mm.diffusion.operands import Axes
from mm.diffusion.prompt import Prompt
from mm.diffusion.sampler import Clock
from mm.diffusion.watched import Call
from mm.diffusion.word_columns import word_columns
from tests.diffusion_pipelines import WIDTH, pipeline

PROMPTS = ["a red circle left of a blue square", "a blue circle left of a blue square"]


def drawn(pipe: object, images: int = 1, **given: object) -> Tensor:
    generators = [torch.Generator().manual_seed(image) for _ in PROMPTS for image in range(images)]
    settings = {"num_inference_steps": 2, "output_type": "latent", "num_images_per_prompt": images, "generator": generators} | given
    found = pipe(PROMPTS, **settings).images  # type: ignore[operator]
    assert isinstance(found, Tensor)
    return found


def test_two_unguided_pictures_of_a_prompt_are_not_taken_for_the_halves_of_guidance() -> None:
    pipe = pipeline("pixart")
    stock = pipe.encode_prompt
    size = {"height": 16, "width": 16, "use_resolution_binning": False, "guidance_scale": 1.0}
    with mm.control(pipe, [Replace(1)], PROMPTS):
        found = drawn(pipe, 2, **size)
    with mm.control(pipe, [Replace(1)], PROMPTS, Branches.unguided(2, 2)):
        assert torch.equal(found, drawn(pipe, 2, **size))
    assert pipe.encode_prompt == stock


def test_a_pipeline_without_edits_and_prompts_runs_as_it_is() -> None:
    pipe = pipeline("stable-diffusion")
    plain = drawn(pipe)
    with mm.control(pipe):
        assert torch.equal(drawn(pipe), plain)


def test_processors_that_a_pipeline_sets_in_its_call_are_watched_too() -> None:
    stable = pipeline("stable-diffusion")
    parts = {name: stable.components[name] for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")}
    pipe = StableDiffusionPAGPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
                                      pag_applied_layers=["down_blocks.0"])
    pipe.set_progress_bar_config(disable=True)
    rows = Branches((*Branches.guided(2).rows, Row(0), Row(1)))
    assert rows.taking("own") == ((1, 0), (3, 2), (5, 4))
    plain = drawn(pipe, pag_scale=2.0)
    with mm.control(pipe, [SelfInject(1.0, 1)], PROMPTS, rows) as control:
        found = drawn(pipe, pag_scale=2.0)
    assert any(site.kind == "self" and site.place == "down" for site in control.sites.values())
    assert torch.equal(found[0], plain[0])
    assert (found[1] - plain[1]).abs().max() > 1e-3


def test_a_compiled_pipeline_is_tokenised() -> None:
    pipe = pipeline("stable-diffusion")
    known = tokenized(pipe, PROMPTS)
    pipe.unet = torch.compile(pipe.unet)
    assert tokenized(pipe, PROMPTS) == known


class Counted(LocalBlend):
    """Notes how many steps each of its masks is made of."""

    def __init__(self, words: list[str], start_blend: float) -> None:
        super().__init__(words, start_blend=start_blend)
        self.seen: list[int] = []

    def mask(self, latents: Tensor, recorder: Recorder, prompts: int) -> Tensor:
        self.seen.append(max(recorder.counts.values()))
        return super().mask(latents, recorder, prompts)


def test_a_run_that_was_broken_off_leaves_nothing_to_the_next() -> None:
    pipe, blend = pipeline("stable-diffusion"), Counted(["red", "blue"], start_blend=0.0)

    def stop(*_: object) -> dict[str, Tensor]:
        raise InterruptedError

    with mm.control(pipe, [Replace(), blend], PROMPTS):
        with pytest.raises(InterruptedError):
            drawn(pipe, callback_on_step_end=stop)
        drawn(pipe)
    assert blend.seen == [1, 1, 2]


def test_latents_that_overflow_are_one_clear_error() -> None:
    pipe = pipeline("stable-diffusion")
    with mm.control(pipe, [Rescale("blue", 3e38)], PROMPTS), pytest.raises(ValueError, match="latents after step 0 hold NaN or infinity"):
        drawn(pipe)


def test_a_timestep_said_once_a_picture_is_read() -> None:
    scheduler = SCMScheduler()
    scheduler.set_timesteps(2, max_timesteps=1.57, intermediate_timesteps=1.3)
    clock = Clock(scheduler)
    clock.meet(scheduler.timesteps[1].expand(4))
    assert clock.position == 1


class Learned(WordEdit):
    def __init__(self, factors: Tensor) -> None:
        self.factors = factors

    def change(self, columns: Columns, source: Prompt, target: Prompt) -> Columns:
        return columns.scaled(self.factors)

    def gate(self, target: Prompt, moment: Moment) -> Tensor:
        return torch.ones(target.keys)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_learned_factors_get_gradients_at_every_value_and_at_every_iteration(value: float) -> None:
    pipe = pipeline("stable-diffusion")
    pipe.unet.requires_grad_(False)
    prompts = tokenized(pipe, PROMPTS)
    factors = torch.full((prompts[0].keys,), value, requires_grad=True)
    rescaled = torch.tensor([value], requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(2, 4, 8, 8, generator=generator), 10, torch.randn(2, prompts[0].keys, WIDTH, generator=generator)
    optimiser, seen = torch.optim.SGD([factors], lr=0.5), []
    with mm.control(pipe.unet, [Learned(factors), Rescale("blue", rescaled)], prompts, Branches.unguided(2)) as control:
        control.at(0, 4)
        for _ in range(2):
            optimiser.zero_grad()
            out = pipe.unet(*given).sample[1]
            seen.append(out.detach())
            out.square().sum().backward()
            assert factors.grad is not None
            assert rescaled.grad is not None
            assert factors.grad.any()
            optimiser.step()
    assert not torch.equal(*seen)


@pytest.mark.parametrize("latent", [(64, 64), (75, 50), (9, 13)])
def test_self_injection_counts_odd_sides_as_the_model_halves_them(latent: tuple[int, int]) -> None:
    def taken(height: int, width: int) -> bool:
        return bool(SelfInject(1.0, GENERATED).takes(Site("a", "self", "up", 0, height, width, latent), Moment(0, 10)))

    half = [-(-side // 2) for side in latent]
    assert taken(*(-(-side // 2) for side in half))
    assert not taken(*half)



def test_a_further_call_without_negatives_is_not_taken_for_guidance() -> None:
    pipe = pipeline("sd3")
    skips = {"skip_guidance_layers": [0], "skip_layer_guidance_start": -1.0, "skip_layer_guidance_stop": 1.0}
    with mm.control(pipe, [Replace(1)], PROMPTS):
        found = drawn(pipe, **skips)
    with mm.control(pipe, [Replace(1)], PROMPTS, [Branches.guided(2), Branches.unguided(2)]):
        assert torch.equal(found, drawn(pipe, **skips))


def test_words_are_recorded_in_full_precision_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = 6 * torch.randn(1, 4, 64, 8, generator=generator), torch.randn(1, 4, 12, 8, generator=generator)
    call, axes = Call(q, k, k, None, None, lambda: q, 12), Axes(slice(0, 12), None, slice(0, 64))
    view = View(Site("a", "cross", "down", 0, 8, 8, (8, 8)), call, axes, (Row(0),), ())
    expected = (q.double() @ k.double().mT / 8**0.5).softmax(-1)[0].mean(0)[:, 1:2].float()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(word_columns(view, 0, [[1]]), expected, rtol=0, atol=1e-5)
