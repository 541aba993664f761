"""Noise, velocity and flow say the same of a noisy latent, and their losses are one loss with other weights."""
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from mm.diffusion import Epsilon, FlowMatching, MinSNR, VPrediction
from mm.diffusion.objectives import Even, Objective, objective_of

OBJECTIVES = [Epsilon(), VPrediction(), FlowMatching()]


def levels(objective: Objective) -> tuple[Tensor, Tensor]:
    angle = torch.linspace(0.1, 1.4, 7, dtype=torch.float64).view(-1, 1)
    if isinstance(objective, FlowMatching):
        sigma = angle / 1.5
        return 1 - sigma, sigma
    return angle.cos(), angle.sin()


def latents() -> tuple[Tensor, Tensor]:
    drawn = torch.randn(2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return drawn[0], drawn[1]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_latent_and_noise_come_back_from_the_prediction(objective: Objective) -> None:
    clean, noise = latents()
    alpha, sigma = levels(objective)
    noisy, target = alpha * clean + sigma * noise, objective.target(clean, noise, alpha, sigma)
    torch.testing.assert_close(objective.clean(noisy, target, alpha, sigma), clean, atol=1e-12, rtol=0)
    torch.testing.assert_close(objective.noise(noisy, target, alpha, sigma), noise, atol=1e-12, rtol=0)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_the_slope_is_that_of_the_latent(objective: Objective) -> None:
    noisy, prediction = latents()
    alpha, sigma = levels(objective)
    moved = objective.clean(noisy, prediction + 1, alpha, sigma) - objective.clean(noisy, prediction, alpha, sigma)
    torch.testing.assert_close(moved.abs(), objective.slope(alpha, sigma).expand_as(moved), atol=1e-12, rtol=0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_denoiser_samples_the_latent_under_the_scheduler_of_diffusers(prediction: str) -> None:
    scheduler = DDIMScheduler(prediction_type=prediction, beta_schedule="squaredcos_cap_v2", clip_sample=False, timestep_spacing="trailing")
    objective = objective_of(scheduler.config)
    scheduler.set_timesteps(4)
    clean, noise = (value.float() for value in latents())
    noisy = noise
    for step, timestep in enumerate(scheduler.timesteps):
        kept = scheduler.alphas_cumprod[timestep]
        alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
        noisy = alpha * clean + sigma * noise if step == 0 else noisy
        stepped = scheduler.step(objective.target(clean, noise, alpha, sigma), timestep, noisy)
        torch.testing.assert_close(stepped.pred_original_sample, clean, atol=0.05, rtol=0)
        noisy = stepped.prev_sample


def test_levels_are_those_of_the_scheduler() -> None:
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2")
    timesteps, alpha, sigma = VPrediction().levels(torch.tensor([0.0, 0.5, 1 - 1e-9], dtype=torch.float64), scheduler)
    assert timesteps.tolist() == [0, 500, 999]
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones(3))
    flow = FlowMatchEulerDiscreteScheduler()
    timesteps, alpha, sigma = FlowMatching().levels(torch.tensor([0.0, 0.5, 1 - 1e-9], dtype=torch.float64), flow)
    torch.testing.assert_close(timesteps, 1000 * sigma)
    torch.testing.assert_close(alpha + sigma, torch.ones(3))
    assert sigma[1] == 0.5
    assert 0 < sigma[0] < 0.1 < 0.9 < sigma[2] < 1


def test_min_snr_weighs_the_error_of_the_latent_alike_whatever_is_predicted() -> None:
    alpha, sigma = (level.flatten() for level in levels(VPrediction()))
    on_latent = [MinSNR(5.0).weight(objective, alpha, sigma) / objective.slope(alpha, sigma).square() for objective in (Epsilon(), VPrediction())]
    torch.testing.assert_close(*on_latent)
    ratio = (alpha / sigma).square()
    torch.testing.assert_close(on_latent[0], ratio.clamp(max=5.0))
    torch.testing.assert_close(MinSNR(5.0).weight(Epsilon(), alpha, sigma), ratio.clamp(max=5.0) / ratio)  # the paper's forms
    torch.testing.assert_close(MinSNR(5.0).weight(VPrediction(), alpha, sigma), ratio.clamp(max=5.0) / (ratio + 1))
    assert (Even().weight(Epsilon(), alpha, sigma) == 1).all()


def test_a_scheduler_that_samples_from_other_models_is_refused() -> None:
    assert isinstance(objective_of(FlowMatchEulerDiscreteScheduler().config), FlowMatching)
    with pytest.raises(ValueError, match="prediction_type 'v_prediction', and the pipeline's has 'epsilon'"):
        VPrediction().check(DDIMScheduler().config)
    with pytest.raises(ValueError, match="prediction_type None, and the pipeline's has 'epsilon'"):
        FlowMatching().check(DDIMScheduler().config)
    with pytest.raises(ValueError, match="'sample' is not trained for"):
        objective_of(SimpleNamespace(beta_schedule="linear", prediction_type="sample").__dict__)
