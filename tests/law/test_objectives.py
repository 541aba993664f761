"""Noise, velocity and flow say the same of a noisy latent, and their losses are one loss with other weights."""
from typing import get_args

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from mm.diffusion import Epsilon, FlowMatching, MinSNR, VPrediction
from mm.diffusion.objectives import Even, objective_of
from mm.diffusion.prediction import Kind, Level, parts, slope, target

KINDS: tuple[Kind, ...] = get_args(Kind)


def level(kind: Kind) -> Level:
    angle = torch.linspace(0.1, 1.4, 7, dtype=torch.float64).view(-1, 1)
    return Level(1 - angle / 1.5, angle / 1.5) if kind == "flow_prediction" else Level(angle.cos(), angle.sin())


def latents() -> tuple[Tensor, Tensor]:
    drawn = torch.randn(2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return drawn[0], drawn[1]


@pytest.mark.parametrize("kind", KINDS)
def test_latent_and_noise_come_back_from_the_prediction(kind: Kind) -> None:
    clean, noise = latents()
    at = level(kind)
    found = parts(kind, target(kind, clean, noise, at), at.alpha * clean + at.sigma * noise, at)
    torch.testing.assert_close(found.clean, clean, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.noise, noise, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_slope_is_that_of_the_latent(kind: Kind) -> None:
    noisy, prediction = latents()
    at = level(kind)
    moved = parts(kind, prediction + 1, noisy, at).clean - parts(kind, prediction, noisy, at).clean
    torch.testing.assert_close(moved.abs(), slope(kind, at).expand_as(moved), atol=1e-12, rtol=0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_denoiser_samples_the_latent_under_the_scheduler_of_diffusers(prediction: str) -> None:
    scheduler = DDIMScheduler(prediction_type=prediction, beta_schedule="squaredcos_cap_v2", clip_sample=False, timestep_spacing="trailing")
    kind = objective_of(scheduler).kind
    scheduler.set_timesteps(4)
    clean, noise = (value.float() for value in latents())
    noisy = noise
    for step, timestep in enumerate(scheduler.timesteps):
        kept = scheduler.alphas_cumprod[timestep]
        at = Level(kept.sqrt(), (1 - kept).sqrt())
        noisy = at.alpha * clean + at.sigma * noise if step == 0 else noisy
        stepped = scheduler.step(target(kind, clean, noise, at), timestep, noisy)
        torch.testing.assert_close(stepped.pred_original_sample, clean, atol=0.05, rtol=0)
        noisy = stepped.prev_sample


def test_levels_are_those_of_the_scheduler() -> None:
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2")
    timesteps, (alpha, sigma) = VPrediction().levels(torch.tensor([0.0, 0.5, 1 - 1e-9], dtype=torch.float64), scheduler)
    assert timesteps.tolist() == [0, 500, 999]
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones(3))
    flow = FlowMatchEulerDiscreteScheduler()
    timesteps, (alpha, sigma) = FlowMatching().levels(torch.tensor([0.0, 0.5, 1 - 1e-9], dtype=torch.float64), flow)
    torch.testing.assert_close(timesteps, 1000 * sigma)
    torch.testing.assert_close(alpha + sigma, torch.ones(3))
    assert sigma[1] == 0.5
    assert 0 < sigma[0] < 0.1 < 0.9 < sigma[2] < 1


def test_min_snr_weighs_the_error_of_the_latent_alike_whatever_is_predicted() -> None:
    at = Level(*(side.flatten() for side in level("v_prediction")))
    kinds: tuple[Kind, ...] = ("epsilon", "v_prediction")
    on_latent = [MinSNR(5.0).weight(kind, at) / slope(kind, at).square() for kind in kinds]
    torch.testing.assert_close(*on_latent)
    ratio = (at.alpha / at.sigma).square()
    torch.testing.assert_close(on_latent[0], ratio.clamp(max=5.0))
    torch.testing.assert_close(MinSNR(5.0).weight("epsilon", at), ratio.clamp(max=5.0) / ratio)  # the paper's forms
    torch.testing.assert_close(MinSNR(5.0).weight("v_prediction", at), ratio.clamp(max=5.0) / (ratio + 1))
    assert (Even().weight("epsilon", at) == 1).all()


def test_a_scheduler_that_samples_from_other_models_is_refused() -> None:
    assert isinstance(objective_of(FlowMatchEulerDiscreteScheduler()), FlowMatching)
    assert isinstance(objective_of(DDIMScheduler()), Epsilon)
    with pytest.raises(ValueError, match="prediction_type 'v_prediction', and the pipeline's has 'epsilon'"):
        VPrediction().check(DDIMScheduler())
    with pytest.raises(ValueError, match="prediction_type 'flow_prediction', and the pipeline's has 'epsilon'"):
        FlowMatching().check(DDIMScheduler())
    with pytest.raises(ValueError, match="'sample' is not trained for"):
        objective_of(DDIMScheduler(prediction_type="sample"))
