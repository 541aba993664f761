"""Steps up and down are the scheduler's own, for every spacing, offset and kind of prediction."""
import itertools
from typing import Any

import pytest
import torch
from diffusers import DDIMInverseScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, PNDMScheduler

from mm.diffusion.prediction import Kind, Level, kind, parts
from mm.diffusion.schedule import ddim, flow, levels, schedule
from tests.noise_model import ddim_scheduler, pictures

SETTINGS = [{"timestep_spacing": spacing, "steps_offset": offset, "prediction_type": predicted, "set_alpha_to_one": one}
            for spacing, offset, predicted, one in itertools.product(["leading", "trailing", "linspace"], [0, 1],
                                                                     ["epsilon", "v_prediction", "sample"], [False, True])]
Z, PREDICTION = pictures(2), pictures(2, 1)


@pytest.mark.parametrize("steps", [10, 7])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(str(value) for value in settings.values()))
def test_down_is_the_scheduler_s_step(settings: dict[str, Any], steps: int) -> None:
    scheduler = ddim_scheduler(**settings)
    found = schedule(scheduler, steps)
    scheduler.set_timesteps(steps)
    torch.testing.assert_close(found.timesteps, scheduler.timesteps)
    for step, timestep in enumerate(scheduler.timesteps):
        assert torch.equal(found.down(step, Z, PREDICTION), scheduler.step(PREDICTION, timestep, Z).prev_sample)


@pytest.mark.parametrize("settings", [each for each in SETTINGS if each["timestep_spacing"] != "linspace"],
                         ids=lambda settings: "-".join(str(value) for value in settings.values()))
def test_diffusers_inverse_scheduler_is_not_off_by_one(settings: dict[str, Any]) -> None:
    scheduler = ddim_scheduler(**settings)
    inverse = DDIMInverseScheduler.from_config(scheduler.config)
    inverse.set_timesteps(10)
    found = schedule(scheduler, 10)
    assert torch.equal(inverse.timesteps.flip(0), found.timesteps)
    for step, timestep in zip(reversed(range(10)), inverse.timesteps, strict=True):
        if settings["prediction_type"] == "sample" and found.low[step, 1] == 0:
            with pytest.raises(ValueError, match="says nothing of the noise"):
                found.up(step, Z, PREDICTION)
        else:
            assert torch.equal(found.up(step, Z, PREDICTION), inverse.step(PREDICTION, timestep, Z).prev_sample)


@pytest.mark.parametrize("mu", [None, 0.7])
def test_euler_steps_of_a_flow(mu: float | None) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=mu is not None)
    found = schedule(scheduler, 6, mu)
    scheduler.set_timesteps(6, mu=mu)
    for step, timestep in enumerate(scheduler.timesteps):
        torch.testing.assert_close(found.down(step, Z, PREDICTION), scheduler.step(PREDICTION, timestep, Z).prev_sample)
        torch.testing.assert_close(found.up(step, found.down(step, Z, PREDICTION), PREDICTION), Z)


def test_a_schedule_leaves_the_scheduler_alone() -> None:
    scheduler = ddim_scheduler()
    scheduler.set_timesteps(5)
    ddim(scheduler, 10)
    assert len(scheduler.timesteps) == 5


@pytest.mark.parametrize("name", ["epsilon", "sample", "v_prediction", "flow_prediction"])
def test_every_kind_of_prediction_takes_a_latent_apart(name: Kind) -> None:
    clean, noise = pictures(2).double(), pictures(2, 1).double()
    sigma = torch.tensor(0.6, dtype=torch.float64)
    alpha = 1 - sigma if name == "flow_prediction" else (1 - sigma**2).sqrt()
    said = {"epsilon": noise, "sample": clean, "v_prediction": alpha * noise - sigma * clean, "flow_prediction": noise - clean}[name]
    found = parts(kind(name), said, alpha * clean + sigma * noise, Level(alpha, sigma))
    torch.testing.assert_close(found.clean, clean)
    torch.testing.assert_close(found.noise, noise)


def test_levels_of_training_timesteps() -> None:
    found = levels(PNDMScheduler(prediction_type="v_prediction"))
    alpha, sigma = found.at(torch.tensor([0, 999]), pictures(2))
    assert alpha.shape == (2, 1, 1, 1)
    assert found.kind == "v_prediction"
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(2, 1, 1, 1))
    straight = levels(FlowMatchEulerDiscreteScheduler())
    assert straight.kind == "flow_prediction"
    torch.testing.assert_close(straight.table[250], torch.tensor([0.75, 0.25]))


@pytest.mark.parametrize(("make", "steps", "message"), [
    (lambda: ddim_scheduler(clip_sample=True), 10, "clip_sample=False"),
    (lambda: ddim_scheduler(rescale_betas_zero_snr=True), 10, "without signal"),
    (lambda: PNDMScheduler(), 10, r"PNDMScheduler: .*set pipe.scheduler = DDIMScheduler.from_config\(pipe.scheduler.config, clip_sample=False"),
    (lambda: EulerDiscreteScheduler(), 10, "EulerDiscreteScheduler: .*DDIMScheduler"),
    (lambda: FlowMatchEulerDiscreteScheduler(stochastic_sampling=True), 10, "stochastic_sampling=False"),
], ids=["clips", "no-signal", "pndm", "euler", "stochastic"])
def test_schedulers_that_cannot_be_walked_back(make: Any, steps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedule(make(), steps)


def test_flow_takes_a_pipeline_s_sigmas() -> None:
    found = flow(FlowMatchEulerDiscreteScheduler(shift=1.0), 2, sigmas=[1.0, 0.5])
    torch.testing.assert_close(found.high[:, 1], torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(found.low[:, 1], torch.tensor([0.5, 0.0]))
