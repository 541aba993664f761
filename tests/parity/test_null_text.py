"""DDIM inversion and null-text optimisation against numbers of the original implementation (tests/golden/diffusion)."""
import json
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from mm.diffusion.inversion import DDIM, NullText, reconstruct
from mm.diffusion.schedule import Schedule, ddim
from mm.diffusion.text import Text
from tests.golden import load
from tests.noise_model import ddim_scheduler, noise


def case(name: str) -> tuple[SimpleNamespace, SimpleNamespace, Schedule, Text, Text]:
    golden = load("diffusion", "ddim_null_text")
    arrays = SimpleNamespace(**{key.split("/")[1]: value for key, value in vars(golden).items() if key.startswith(name + "/")})
    meta = SimpleNamespace(**json.loads(golden.meta)[name])
    schedule = ddim(ddim_scheduler(steps_offset=meta.steps_offset), meta.num_steps)
    return arrays, meta, schedule, Text(arrays.context[1:]), Text(arrays.context[:1])


def exact(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


def looped(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=5e-4, rtol=0)


@pytest.mark.parametrize("name", ["off0", "off1"])
def test_single_steps_up_and_down(name: str) -> None:
    arrays, meta, schedule, _, _ = case(name)
    torch.testing.assert_close(schedule.timesteps, arrays.timesteps)
    step, z, predicted = arrays.timesteps.tolist().index(meta.step_t), arrays.z0, arrays.step_eps
    exact(schedule.up(step, z, predicted), arrays.next_step)
    exact(schedule.down(step, z, predicted), arrays.prev_step)
    last = len(schedule) - 1
    exact(schedule.up(last, z, predicted), arrays.next_first)
    exact(schedule.down(last, z, predicted), arrays.prev_last)


@pytest.mark.parametrize("name", ["off0", "off1"])
def test_the_way_up(name: str) -> None:
    arrays, _, schedule, text, negative = case(name)
    found = DDIM().invert(noise, schedule, arrays.z0, text, negative)
    looped(found.latents.flip(0)[:, 0], arrays.ddim_latents)
    looped(reconstruct(noise, schedule, found, text, negative, case(name)[1].guidance)[-1], arrays.recon_plain_cfg)


@pytest.mark.parametrize("name", ["off0", "off1"])
def test_optimised_null_texts_and_what_they_reconstruct(name: str) -> None:
    arrays, meta, schedule, text, negative = case(name)
    method = NullText(meta.guidance, meta.inner, span=100, tolerance=meta.eps)  # recorded with the rate of 50 steps
    found = method.invert(noise, schedule, arrays.z0, text, negative)
    assert found.negatives is not None
    looped(torch.cat([text.tokens for text in found.negatives]), arrays.uncond)
    looped(reconstruct(noise, schedule, found, text, negative, meta.guidance)[-1], arrays.recon_null)
