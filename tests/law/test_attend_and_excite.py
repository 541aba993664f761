"""Attend-and-Excite: when the latent moves, how far, and what for."""
import pytest
import torch
from torch import Tensor

from mm.diffusion.attend_and_excite import AttendAndExcite
from mm.diffusion.denoisers import denoiser
from mm.diffusion.dynamic import AttentionReader
from mm.diffusion.leakage import balance, peaks
from mm.diffusion.moment import Moment, Window
from tests.diffusion_pipelines import pipeline

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


def test_beside_a_pipeline_it_is_the_run_of_its_own_and_nouns_are_seen_more() -> None:
    pipe = pipeline("stable-diffusion")
    pipe.set_progress_bar_config(disable=True)
    model = denoiser(pipe)
    reader = AttentionReader(model.network, model, words_at=1)
    text, negative = model.text(["a red circle"])
    z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    edit, schedule = AttendAndExcite([[2], [3]], refinements=2), model.schedule(4, z)
    mine = edit.sample(model, reader, schedule, z, text, negative, guidance=2.0)
    beside = edit.beside(reader, text, 4)
    theirs = pipe(["a red circle"] * 2, latents=beside.first(pipe, z), num_inference_steps=4, guidance_scale=2.0, callback_on_step_end=beside,
                  output_type="latent").images
    torch.testing.assert_close(theirs, mine, rtol=0, atol=1e-4)
    never = AttendAndExcite(edit.nouns, window=Window(0.0, 0.0), floors={})
    plain = never.sample(model, reader, schedule, z, text, negative, guidance=2.0)
    lacking = [balance(reader.words(latents, schedule.timesteps[-1], text.as_many_as(2)), edit.nouns) for latents in (mine, plain)]
    assert (lacking[0] < lacking[1]).all()
