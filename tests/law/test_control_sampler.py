"""Under a pipeline the sampler says the step, whichever it is and wherever it starts; latents are edited behind its steps."""
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, HeunDiscreteScheduler
from torch import Tensor

import mm
from mm.diffusion import Control, LatentEdit, Moment
from tests import denoisers
from tests.law.test_edits_fused import COLUMNS, PROMPTS, Given


class Pipe:
    """A pipeline's loop as diffusers writes it: scales, guides, steps."""

    def __init__(self, scheduler: Any) -> None:
        self.toy = denoisers.sd(dtype=torch.float32)
        self.unet, self.scheduler = self.toy.model, scheduler
        self.guidance_scale = 3.0

    @property
    def do_classifier_free_guidance(self) -> bool:
        return self.guidance_scale > 1

    @torch.no_grad()
    def __call__(self, steps: int, start: int = 0, return_dict: bool = False) -> Tensor:
        self.scheduler.set_timesteps(steps)
        first = start * self.scheduler.order
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(first)
        latents = self.toy.given["sample"][2:]
        for time in self.scheduler.timesteps[first:]:
            inputs = self.scheduler.scale_model_input(torch.cat([latents] * 2), time)
            negative, conditional = self.unet(inputs, time, self.toy.given["encoder_hidden_states"]).sample.chunk(2)
            noise = negative + self.guidance_scale * (conditional - negative)
            result = self.scheduler.step(noise, time, latents, return_dict=return_dict)
            latents = result.prev_sample if return_dict else result[0]
        return latents


@dataclass(frozen=True)
class Watch(Given):
    """Notes the step of each call of the denoiser."""

    moments: list[Moment] = field(default_factory=list)

    def gate(self, target: Any, moment: Moment) -> Tensor:
        self.moments.append(moment)
        return super().gate(target, moment)


@dataclass(frozen=True)
class Halve(LatentEdit):
    """Halves the targets' latents from a step on, and notes the steps."""

    moments: list[Moment] = field(default_factory=list)

    def after_step(self, latents: Tensor, control: Control) -> Tensor:
        self.moments.append(control.moment)
        return torch.cat([latents[:1], latents[1:] / 2])


SCHEDULERS = {"DDIM": DDIMScheduler, "DPM-Solver": DPMSolverMultistepScheduler, "Heun": HeunDiscreteScheduler}


@pytest.mark.parametrize("kind", SCHEDULERS.values(), ids=SCHEDULERS)
@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("return_dict", [False, True])
def test_the_step_comes_from_the_sampler(kind: Any, start: int, return_dict: bool) -> None:
    pipe = Pipe(kind())
    plain = pipe(5, start)
    words, halve = Watch(COLUMNS["gated"]), Halve()
    with mm.control(pipe, [words, halve], prompts=PROMPTS):
        found = pipe(5, start, return_dict)
    assert words.moments == halve.moments == [Moment(step, 5) for step in range(start, 5)]
    assert torch.equal(found[0], plain[0])
    assert not torch.allclose(found[1], plain[1])
    assert torch.equal(pipe(5, start), plain)
    assert not {"step", "set_timesteps", "scale_model_input"} & set(pipe.scheduler.__dict__)


def test_two_runs_in_one_context_are_alike() -> None:
    pipe = Pipe(HeunDiscreteScheduler())
    words = Watch(COLUMNS["gated"])
    with mm.control(pipe, [words], prompts=PROMPTS):
        assert torch.equal(pipe(3), pipe(3))
    assert words.moments == [Moment(step, 3) for step in (0, 1, 2)] * 2


def test_samplers_of_flow_models_start_where_they_are_told() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler()
    toy = denoisers.flux()
    steps = []

    class Flux:
        transformer = toy.model

        def __init__(self) -> None:
            self.scheduler = scheduler

        @torch.no_grad()
        def __call__(self, start: int) -> None:
            scheduler.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25])
            scheduler.set_begin_index(start)
            latents = toy.given["hidden_states"]
            for time in scheduler.timesteps[start:]:
                for _ in range(2):  # conditional rows, then negative ones, as Flux with true guidance calls it
                    noise = toy.model(**(toy.given | {"hidden_states": latents, "timestep": time.expand(2).double() / 1000})).sample
                    steps.append((control.moment, control.branches.rows[0].conditional, control.frame.latent))
                latents = scheduler.step(noise, time, latents, return_dict=False)[0]

    pipe = Flux()
    with mm.control(pipe, [], prompts=PROMPTS) as control:
        pipe(1)
    assert steps == [(Moment(step, 4), conditional, (8, 10)) for step in (1, 2, 3) for conditional in (True, False)]


def test_guidance_is_asked_of_the_pipeline() -> None:
    pipe = Pipe(DDIMScheduler())
    pipe.guidance_scale = 1.0
    with mm.control(pipe, [], prompts=PROMPTS) as control:
        pipe(2)
        assert control.branches.rows[2].conditional  # four rows of two prompts without guidance are two pictures of each
        pipe.guidance_scale = 3.0
        pipe(2)
        assert not control.branches.rows[0].conditional


def test_a_real_pipeline_under_control() -> None:
    from diffusers import AutoencoderKL, StableDiffusionPipeline

    toy = denoisers.sd(dtype=torch.float32)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    pipe = StableDiffusionPipeline(vae=vae, text_encoder=None, tokenizer=None, unet=toy.model, scheduler=DDIMScheduler(), safety_checker=None,
                                   feature_extractor=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    text = toy.given["encoder_hidden_states"]

    def run() -> Tensor:
        return pipe(prompt_embeds=text[:2], negative_prompt_embeds=text[2:], latents=toy.given["sample"][:2], num_inference_steps=3,
                    height=8, width=8, output_type="latent").images

    plain = run()
    words = Watch(COLUMNS["gated"])
    with mm.control(pipe, [words], prompts=PROMPTS):
        found = run()
    assert words.moments == [Moment(step, 3) for step in range(3)]
    assert torch.equal(found[0], plain[0])
    assert not torch.allclose(found[1], plain[1])
    assert torch.equal(run(), plain)
