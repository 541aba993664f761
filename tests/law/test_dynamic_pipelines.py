"""Learning words in pipelines of diffusers, and editing with them."""
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor

import mm
from mm.diffusion.denoisers import denoiser
from mm.diffusion.dynamic import DPL, AlongNullText, AttentionReader, Held, Learned, Scene, by_step, scene
from mm.diffusion.edits.replace import Replace
from mm.diffusion.guidance import guided
from mm.diffusion.inversion import DDIM
from mm.diffusion.leakage import Threshold
from tests.diffusion_pipelines import pipeline

PROMPT, TARGET, NOUNS = "a red circle left of a blue square", "a red square left of a blue square", ["circle", "square"]
STEPS = 3
SIZES = {"stable-diffusion": 1.0, "sdxl": 1.0, "pixart": 2.0, "sd3": 2.0}  # latent rows to one of attention


def ready(pipe: Any, at: float = 1.0) -> Scene:
    model, latents = denoiser(pipe), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text, negative = model.text([PROMPT])
    trajectory = DDIM().invert(model, model.schedule(STEPS, latents), latents, text, negative)
    return scene(model, trajectory, PROMPT, NOUNS, targets=[TARGET], reader=AttentionReader(model.network, model, at, at))


def learning(**changes: Any) -> DPL:
    return DPL(**({"updates": 2, "lr": 5e-2, "balanced": Threshold(0.0, 25), "following": Held()} | changes))


@pytest.mark.parametrize("family", SIZES)
def test_losses_fall_in_every_family(family: str) -> None:
    learned = learning(updates=3, lr=1e-2).learn(ready(pipeline(family), SIZES[family]))
    weighted = learned.losses @ torch.tensor([1.0, 0.05, 0.05])
    assert (weighted[:, 1] < weighted[:, 0]).all()
    assert all(not torch.equal(rows[0], rows[-1]) for rows in learned.rows)


def run(pipe: Any, noise: Tensor, *, learned: Learned | None = None, where: Scene | None = None) -> Tensor:
    prompts = [PROMPT, TARGET]
    with ExitStack() as stack:
        running = stack.enter_context(mm.control(pipe, [Replace()], prompts=prompts))
        if learned is not None and where is not None:
            stack.enter_context(by_step(running, learned.texts(where.wording, prompts), learned.trajectory.negatives))
        pipe.set_progress_bar_config(disable=True)
        return pipe(prompts, latents=noise.repeat(2, 1, 1, 1), num_inference_steps=STEPS, guidance_scale=2.0, output_type="latent").images


@torch.no_grad()
def by_hand(where: Scene, learned: Learned) -> Tensor:
    """The source, guided by each step's own texts."""
    z, negatives = where.trajectory.noise, learned.trajectory.negatives
    assert negatives is not None
    for step, (text, negative) in enumerate(zip(learned.texts(where.wording, [PROMPT]), negatives, strict=True)):
        z = where.schedule.down(step, z, guided(where.model, z, where.timestep(step), text, negative, 2.0))
    return z


def test_an_edit_reads_each_step_s_words() -> None:
    pipe = pipeline("stable-diffusion")
    where = ready(pipe)
    plain = run(pipe, where.trajectory.noise)
    learned = learning(following=AlongNullText(2.0, inner=5)).learn(where)
    edited = run(pipe, where.trajectory.noise, learned=learned, where=where)
    torch.testing.assert_close(edited[:1], by_hand(where, learned), rtol=0, atol=1e-4)
    assert not torch.isclose(edited, plain, atol=1e-3).all()
    assert torch.equal(run(pipe, where.trajectory.noise), plain)  # nothing stays


def test_words_that_have_not_been_learned_are_the_plain_run_to_the_bit() -> None:
    pipe = pipeline("stable-diffusion")
    where = ready(pipe)
    learned = learning(updates=0).learn(where)
    assert torch.equal(run(pipe, where.trajectory.noise, learned=learned, where=where), run(pipe, where.trajectory.noise))


def test_a_run_of_another_length_is_refused() -> None:
    pipe = pipeline("stable-diffusion")
    where = ready(pipe)
    learned = learning(updates=0).learn(where)
    with (mm.control(pipe, prompts=[PROMPT]) as running, by_step(running, learned.texts(where.wording, [PROMPT])),
          pytest.raises(ValueError, match="3 texts for a run of 5 steps")):
        pipe(PROMPT, num_inference_steps=5, output_type="latent")


def test_a_noun_that_is_not_there_and_a_family_that_is_not_known_are_refused() -> None:
    where = ready(pipeline("stable-diffusion"))
    with pytest.raises(ValueError, match="no word 'dog'"):
        scene(where.model, where.trajectory, PROMPT, ["dog"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"FluxTransformer2DModel.*Wording"):
        scene(denoiser(pipeline("flux")), where.trajectory, PROMPT, NOUNS)
