"""What inversions promise, on a noise model in closed form."""
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from mm.diffusion.inversion import DDIM, Direct, EditFriendly, Inversion, NegativePrompt, NullText, reconstruct
from mm.diffusion.schedule import Schedule, schedule
from mm.diffusion.text import Text
from tests.noise_model import ddim_scheduler, noise, pictures, prompts

GUIDANCE = 4.0
METHODS: list[Inversion] = [DDIM(), Direct(), NegativePrompt(), NullText(GUIDANCE, inner=3), EditFriendly(GUIDANCE)]
SCHEDULES: dict[str, Any] = {
    "leading-0": lambda: ddim_scheduler(), "leading-1": lambda: ddim_scheduler(steps_offset=1),
    "trailing": lambda: ddim_scheduler(timestep_spacing="trailing"), "v": lambda: ddim_scheduler(prediction_type="v_prediction"),
    "sample": lambda: ddim_scheduler(prediction_type="sample"), "flow": lambda: FlowMatchEulerDiscreteScheduler(shift=3.0)}
TEXT, NULL = prompts(1, 1), prompts(1, 2)


def steps(name: str = "leading-1", count: int = 10) -> Schedule:
    return schedule(SCHEDULES[name](), count)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).square().mean())


@pytest.mark.parametrize("name", SCHEDULES)
def test_direct_inversion_is_exact(name: str) -> None:
    found = Direct().invert(noise, steps(name), pictures(2), TEXT, NULL)
    path = reconstruct(noise, steps(name), found, TEXT, NULL, GUIDANCE)
    assert torch.equal(path, found.latents)
    assert torch.equal(path[-1], pictures(2))


def test_direct_inversion_puts_the_source_back_and_leaves_edits_alone() -> None:
    found = Direct().invert(noise, steps(), pictures(2), TEXT, NULL)
    branches = pictures(6, 5)
    after = found.after_step(branches, 3)
    assert torch.equal(after[:2], found.latents[4])
    assert torch.equal(after[2:], branches[2:])
    assert torch.equal(branches, pictures(6, 5))
    with pytest.raises(ValueError, match=r"latents \[5, 3, 4, 4\] after step 3, while the source is \[2, 3, 4, 4\]"):
        found.after_step(branches[:5], 3)
    plain = DDIM().invert(noise, steps(), pictures(2), TEXT, NULL)
    assert plain.source(0) is None
    assert plain.negative(0) is None
    assert plain.after_step(branches, 0) is branches


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_way_back_without_guidance_is_near_and_nearer_with_more_steps(name: str) -> None:
    errors = []
    for count in (5, 20):
        found = DDIM().invert(noise, steps(name, count), pictures(2), TEXT, NULL)
        assert found.latents.shape == (count + 1, 2, 3, 4, 4)
        assert torch.equal(found.latents[-1], pictures(2))
        errors.append(error(reconstruct(noise, steps(name, count), found, TEXT)[-1], pictures(2)))
    assert errors[1] < errors[0] / 2


def test_negative_prompt_cancels_guidance_for_the_source() -> None:
    found = NegativePrompt().invert(noise, steps(), pictures(2), TEXT, NULL)
    negative = found.negative(4)
    assert negative is not None
    assert torch.equal(negative, TEXT.tokens.expand(2, -1, -1))
    torch.testing.assert_close(reconstruct(noise, steps(), found, TEXT, NULL, GUIDANCE), reconstruct(noise, steps(), found, TEXT))


@pytest.mark.parametrize("name", SCHEDULES)
def test_null_text_stays_on_the_trajectory(name: str) -> None:
    plain = DDIM().invert(noise, steps(name), pictures(2), TEXT, NULL)
    unguided = error(reconstruct(noise, steps(name), plain, TEXT)[-1], pictures(2))
    drifted = error(reconstruct(noise, steps(name), plain, TEXT, NULL, GUIDANCE)[-1], pictures(2))
    found = NullText(GUIDANCE).invert(noise, steps(name), pictures(2), TEXT, NULL)
    assert error(reconstruct(noise, steps(name), found, TEXT, NULL, GUIDANCE)[-1], pictures(2)) < max(unguided, drifted / 4) < drifted


def test_null_text_is_done_after_the_update_whose_loss_was_small() -> None:
    calls: list[int] = []

    def counted(z: Tensor, timestep: Tensor, text: Text) -> Tensor:
        calls.append(len(z))
        return noise(z, timestep, text)

    found = NullText(GUIDANCE, inner=9, tolerance=1e9).invert(counted, steps(count=2), pictures(1), TEXT, NULL)
    assert len(calls) == 2 + 2 * 3  # the way up; then a step: once c, once the only update, once to take the step
    assert not torch.equal(found.negatives[0].tokens, NULL.tokens)  # type: ignore[index]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_a_batch_gives_what_its_pictures_give(method: Inversion) -> None:
    z, text = pictures(3), prompts(3, 7)
    z[1] *= 0.01  # of three that end their updates at different times
    together = method.invert(noise, steps(), z, text, NULL)
    ways = reconstruct(noise, steps(), together, text, NULL, GUIDANCE)
    for row in range(3):
        alone = method.invert(noise, steps(), z[row:row + 1], text.rows([row]), NULL)
        torch.testing.assert_close(together.latents[:, row:row + 1], alone.latents, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(ways[:, row:row + 1], reconstruct(noise, steps(), alone, text.rows([row]), NULL, GUIDANCE), atol=2e-5, rtol=1e-4)


def test_half_precision_pictures_are_walked_in_float32() -> None:
    assert DDIM().invert(noise, steps(), pictures(1).half(), TEXT, NULL).latents.dtype == torch.float32


@pytest.mark.parametrize("grad", [True, False])
def test_null_text_leaves_no_gradients_and_works_where_they_are_off(grad: bool) -> None:
    weight = torch.nn.Parameter(torch.tensor(1.0))
    with torch.set_grad_enabled(grad):
        found = NullText(GUIDANCE, inner=2).invert(lambda z, t, text: weight * noise(z, t, text), steps(), pictures(1), TEXT, NULL)
    assert weight.grad is None
    assert not found.latents.requires_grad
    assert not found.negatives[0].tokens.requires_grad


def test_prompts_and_steps_must_fit() -> None:
    with pytest.raises(ValueError, match="2 prompts for 3 pictures"):
        DDIM().invert(noise, steps(), pictures(3), prompts(2), NULL)
    found = DDIM().invert(noise, steps(), pictures(1), TEXT, NULL)
    with pytest.raises(ValueError, match="10 steps, while the schedule has 5"):
        reconstruct(noise, steps(count=5), found, TEXT)
    with pytest.raises(ValueError, match="NullText: inner=-1"):
        NullText(inner=-1)


@pytest.mark.parametrize("guidance", [1.0, GUIDANCE])
@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "flow"])
def test_edit_friendly_noise_leads_back_and_lets_another_text_in(name: str, guidance: float) -> None:
    found = EditFriendly(guidance).invert(noise, steps(name), pictures(2), TEXT, NULL)
    torch.testing.assert_close(reconstruct(noise, steps(name), found, TEXT, NULL, guidance), found.latents, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(reconstruct(noise, steps(name), found, prompts(1, 9), NULL, guidance)[-1], pictures(2), atol=1e-2)


def test_edit_friendly_steps_are_the_stochastic_scheduler_s() -> None:
    scheduler, schedule = ddim_scheduler(), steps("leading-0")
    found = EditFriendly().invert(noise, schedule, pictures(2), TEXT, NULL)
    scheduler.set_timesteps(len(schedule))
    prediction = pictures(2, 8)
    for step, timestep in enumerate(scheduler.timesteps):
        still = scheduler.step(prediction, timestep, pictures(2, 9), eta=1.0, variance_noise=torch.zeros(2, 3, 4, 4)).prev_sample
        torch.testing.assert_close(found.down(schedule, step, pictures(2, 9), prediction), still + found.drawn[step], atol=1e-5, rtol=1e-4)


def test_a_flow_has_no_noise_to_find() -> None:
    with pytest.raises(ValueError, match="EditFriendly: the sampler of a flow draws nothing"):
        EditFriendly().invert(noise, steps("flow"), pictures(1), TEXT, NULL)
