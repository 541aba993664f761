"""Attend-and-Excite: when the latent moves, how far, and what for."""
from typing import Any

import pytest
import torch
from torch import Tensor

from mm.diffusion.attend_and_excite import AttendAndExcite
from mm.diffusion.leakage import balance, peaks
from mm.diffusion.moment import Moment, Window
from mm.diffusion.schedule import ddim
from mm.diffusion.text import Text
from tests.noise_model import ddim_scheduler
from tests.tiny_diffusion import IDS, NOUNS, Dense, encoder, padded, unet

PUBLISHED = AttendAndExcite([[1]])


def soft(latents: Tensor) -> Tensor:
    """Maps [B, 4, 4, 4] of latents [B, 4, 4, 4], whose channels are words."""
    return latents.movedim(1, -1).softmax(-1) / 20


def noise(count: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(count, 4, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_step_size_falls_as_published() -> None:
    expected = 20 * torch.linspace(1, 0.5, 50, dtype=torch.float64).sqrt()
    assert [PUBLISHED.size(Moment(step, 50)) for step in range(50)] == pytest.approx(expected.tolist())
    assert PUBLISHED.size(Moment(0, 1)) == 20


@pytest.mark.parametrize(("step", "moves"), [(0, 21), (1, 1), (9, 1), (10, 21), (19, 1), (20, 21), (24, 1), (25, 0), (49, 0)])
def test_the_latent_moves_in_the_first_half_and_more_where_a_floor_is(step: int, moves: int) -> None:
    """Maps that ignore the latent never reach a floor, so all refinements are made."""
    asked = []

    def look(latents: Tensor) -> Tensor:
        asked.append(latents)
        return soft(noise()) * 0 + latents.sum() * 0

    AttendAndExcite([[1]], floors=dict.fromkeys(PUBLISHED.floors, 0.99)).moved(noise(), Moment(step, 50), look)
    assert len(asked) == moves


def test_a_move_is_down_the_slope_of_the_loss() -> None:
    z = noise()
    free = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(balance(soft(free), [[1]]).sum(), free)
    found = PUBLISHED.moved(z, Moment(5, 50), soft)
    torch.testing.assert_close(found, z - PUBLISHED.size(Moment(5, 50)) * slope)
    assert peaks(soft(found), [[1]]) > peaks(soft(z), [[1]])


def test_refinement_ends_at_the_floor() -> None:
    edit = AttendAndExcite([[1], [2]], floors={0.2: 0.7}, window=Window(0.0, 0.0), refinements=200)
    assert balance(soft(noise()), [[1], [2]]) > 0.3
    found = edit.moved(noise(), Moment(10, 50), soft)
    assert 0.25 < balance(soft(found), [[1], [2]]) <= 0.3
    assert torch.equal(edit.moved(found, Moment(10, 50), soft), found)


def test_a_batch_gives_what_its_pictures_give_alone() -> None:
    both = torch.cat([noise(seed=0), noise(seed=1) * 3])
    edit = AttendAndExcite([[1], [2]], floors={0.0: 0.55})
    found = edit.moved(both, Moment(0, 50), soft)
    torch.testing.assert_close(found, torch.cat([edit.moved(both[:1], Moment(0, 50), soft), edit.moved(both[1:], Moment(0, 50), soft)]))


def test_nothing_to_move_is_the_plain_latent_to_the_bit() -> None:
    z = noise().half()
    assert torch.equal(PUBLISHED.moved(z, Moment(30, 50), soft), z)
    far = torch.zeros(1, 4, 4, 4).half()
    far[:, 1] = 10
    assert torch.equal(PUBLISHED.moved(far, Moment(5, 50), lambda latents: latents.movedim(1, -1)), far)  # a peak of 1 has no loss


class Small:
    """A pipeline's loop around the toy network, with the place after each step that diffusers offers."""

    def __init__(self, model: Dense) -> None:
        self.model, self.scheduler = model, ddim_scheduler()

    @torch.no_grad()
    def __call__(self, latents: Tensor, text: Text, negative: Text, steps: int, guidance: float, after: Any) -> Tensor:
        self.scheduler.set_timesteps(steps)
        for step, timestep in enumerate(self.scheduler.timesteps):
            both = self.model(latents.repeat(2, 1, 1, 1), timestep, Text(torch.cat([negative.tokens, text.tokens])))
            without, given = both.chunk(2)
            latents = self.scheduler.step(without + guidance * (given - without), timestep, latents).prev_sample
            latents = after(self, step, timestep, {"latents": latents})["latents"]
        return latents


def test_beside_a_pipeline_it_is_the_run_of_its_own_and_nouns_are_seen_more() -> None:
    clip, model = encoder(), Dense(unet())
    text, negative = (Text(clip(padded(ids))[0]) for ids in (IDS, [48, 49]))
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    edit = AttendAndExcite(NOUNS, refinements=2)
    mine = edit.sample(model, model, ddim(ddim_scheduler(), 4), z, text, negative, guidance=2.0)
    beside, pipe = edit.beside(model, text, 4), Small(model)
    theirs = pipe(beside.first(pipe, z), text, negative, 4, 2.0, beside)
    torch.testing.assert_close(theirs, mine)
    never = AttendAndExcite(NOUNS, window=Window(0.0, 0.0), floors={})
    plain = never.sample(model, model, ddim(ddim_scheduler(), 4), z, text, negative, guidance=2.0)
    last = ddim(ddim_scheduler(), 4).timesteps[-1]
    assert balance(model.words(mine, last, text), NOUNS) < balance(model.words(plain, last, text), NOUNS)
