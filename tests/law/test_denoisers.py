"""A pipeline behind one call is the pipeline: our loop over it gives its pictures."""
from typing import Any

import pytest
import torch
from diffusers import PNDMScheduler, StableDiffusionInpaintPipeline
from PIL import Image
from torch import Tensor

from mm.diffusion.denoisers import denoiser
from mm.diffusion.guidance import guided
from mm.diffusion.inversion import DDIM, Direct, NullText, reconstruct
from mm.diffusion.text import Text
from tests.diffusion_pipelines import BUILDERS, clip, pipeline, stable_diffusion, tokenizer, unet, vae
from tests.noise_model import ddim_scheduler

NAMES = list(BUILDERS)
PROMPTS = ["a red circle", "a blue square left of a circle"]


def start(name: str, count: int = 2) -> Tensor:
    """Latents that are not square; Sana's pipeline asks for multiples of 32 px."""
    height, width = (16, 32) if name == "sana" else (8, 12)
    return torch.randn(count, 4, height, width, generator=torch.Generator().manual_seed(3))


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).square().mean())


def called(pipe: Any, name: str, prompts: list[str], z: Tensor, steps: int) -> Tensor:
    """By the pipeline's own call."""
    binning = {"use_resolution_binning": False} if name in ("pixart", "sana") else {}
    guidance = {} if name == "flux" else {"guidance_scale": 3.0}
    return pipe(prompts, height=2 * z.shape[-2], width=2 * z.shape[-1], latents=denoiser(pipe).native(z), num_inference_steps=steps,
                output_type="latent", return_dict=False, **binning, **guidance)[0]


@pytest.fixture(scope="module")
def pipes() -> dict[str, Any]:
    return {name: pipeline(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_our_loop_gives_the_pipeline_s_latents(name: str, pipes: dict[str, Any]) -> None:
    pipe, model, z = pipes[name], denoiser(pipes[name]), start(name)
    text, negative = model.text(PROMPTS)
    schedule = model.schedule(3, z)
    with torch.no_grad():
        for step, timestep in enumerate(schedule.timesteps):
            z = schedule.down(step, z, guided(model, z, timestep, text, None if name == "flux" else negative, 3.0))
    assert error(z, start(name)) > 0.01
    torch.testing.assert_close(model.native(z), called(pipe, name, PROMPTS, start(name), 3), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_latents_are_scaled_and_unscaled(name: str, pipes: dict[str, Any]) -> None:
    pipe, model = pipes[name], denoiser(pipes[name])
    picture = Image.new("RGB", (24, 16), (200, 30, 90))
    z = model.encode(picture)
    assert z.shape == (1, 4, 8, 12)
    pixels = torch.tensor([200, 30, 90]).view(1, 3, 1, 1).expand(1, 3, 16, 24) / 127.5 - 1
    code = pipe.vae.encode(pixels)
    mean = code.latent if name == "sana" else code.latent_dist.mean
    torch.testing.assert_close(z, (mean.detach() - (0.1 if name in ("sd3", "flux") else 0)) * 0.4)
    torch.testing.assert_close(model.decode(z), pipe.vae.decode(mean).sample.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_inversion_through_a_pipeline(name: str, pipes: dict[str, Any]) -> None:
    model, z = denoiser(pipes[name]), start(name)
    text, negative = model.text(PROMPTS)
    schedule = model.schedule(2, z)
    direct = Direct().invert(model, schedule, z, text, negative)
    assert torch.equal(reconstruct(model, schedule, direct, text, negative, 3.0)[-1], z)
    plain = DDIM().invert(model, schedule, z, text, negative)
    assert torch.equal(plain.latents, direct.latents)
    drifted = error(reconstruct(model, schedule, plain, text, negative, 3.0)[-1], z)
    held = NullText(3.0, inner=3).invert(model, schedule, z, text, negative)
    assert error(reconstruct(model, schedule, held, text, negative, 3.0)[-1], z) < drifted
    assert all(parameter.grad is None for parameter in model.network.parameters())


def test_pictures_of_a_batch_are_inverted_as_alone(pipes: dict[str, Any]) -> None:
    model, z = denoiser(pipes["stable-diffusion"]), start("stable-diffusion")
    text, negative = model.text(PROMPTS)
    schedule = model.schedule(4, z)
    together = NullText(3.0, inner=3).invert(model, schedule, z, text, negative)
    for row in range(2):
        alone = NullText(3.0, inner=3).invert(model, schedule, z[row:row + 1], text.rows([row]), negative.rows([row]))
        torch.testing.assert_close(together.latents[:, row:row + 1], alone.latents, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(together.negative(3)[row:row + 1], alone.negative(3), atol=1e-4, rtol=1e-4)  # type: ignore[index]


def test_sdxl_has_zeros_for_no_negative_prompt(pipes: dict[str, Any]) -> None:
    _, negative = denoiser(pipes["sdxl"]).text(PROMPTS)
    assert not negative.tokens.any()
    _, negative = denoiser(pipes["sdxl"]).text(PROMPTS, "a blue circle")
    assert negative.tokens.any()


def test_flux_packs_as_its_pipeline_does(pipes: dict[str, Any]) -> None:
    z = start("flux")
    assert torch.equal(denoiser(pipes["flux"]).native(z), pipes["flux"]._pack_latents(z, 2, 4, 8, 12))
    path = torch.stack([z, -z])
    assert torch.equal(denoiser(pipes["flux"]).native(path)[1], denoiser(pipes["flux"]).native(-z))


@pytest.mark.parametrize(("name", "size"), [("stable-diffusion", (17, 16)), ("pixart", (18, 16)), ("sd3", (16, 22)), ("flux", (16, 18))])
def test_a_size_that_the_model_cannot_take(name: str, size: tuple[int, int], pipes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"found pictures \[1, 3, .*expected \[B, 3, H, W\] with H and W multiples of \d; crop or resize"):
        denoiser(pipes[name]).encode(Image.new("RGB", size))


def test_pictures_of_two_sizes(pipes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"sizes \[\(8, 16\), \(16, 16\)\]"):
        denoiser(pipes["flux"]).encode([Image.new("RGB", (16, 16)), Image.new("RGB", (8, 16))])


def test_an_autoencoder_that_overflows_is_named() -> None:
    pipe = pipeline("stable-diffusion")
    pipe.vae.decoder.conv_out.weight.data.mul_(2e5)
    pipe.vae.half()
    with pytest.raises(ValueError, match=r"AutoencoderKL: the VAE in torch.float16 gave NaN .*call pipe.vae.to\(torch.float32\) as its config"):
        denoiser(pipe).decode(torch.randn(1, 4, 8, 8))
    pipe.vae.float()
    assert denoiser(pipe).decode(torch.randn(1, 4, 8, 8)).isfinite().all()


def test_a_text_encoder_that_overflows_is_named() -> None:
    pipe = pipeline("stable-diffusion")
    next(pipe.text_encoder.parameters()).data.fill_(torch.nan)
    with pytest.raises(ValueError, match="StableDiffusionPipeline: a text encoder gave NaN"):
        denoiser(pipe).text(PROMPTS)


def test_pipelines_that_are_not_known() -> None:
    inpainting = StableDiffusionInpaintPipeline(vae(), clip(False), tokenizer(), unet(in_channels=9), ddim_scheduler(), None, None,
                                                requires_safety_checker=False)
    with pytest.raises(ValueError, match=r"StableDiffusionInpaintPipeline: its denoiser is UNet2DConditionModel; .*Stable Diffusion 1 and 2, SDXL"):
        denoiser(inpainting)
    with pytest.raises(ValueError, match="object: its denoiser is not found"):
        denoiser(object())


def test_a_scheduler_that_cannot_be_walked_back(pipes: dict[str, Any]) -> None:
    pipe = stable_diffusion()
    pipe.scheduler = PNDMScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(ValueError, match=r"PNDMScheduler: .*set pipe.scheduler"):
        denoiser(pipe).schedule(4, start("sd"))


def test_prompts_must_fit(pipes: dict[str, Any]) -> None:
    model = denoiser(pipes["sdxl"])
    with pytest.raises(ValueError, match="2 prompts and 1 negative"):
        model.text(PROMPTS, ["a"])
    with pytest.raises(ValueError, match="no pooled embedding"):
        model(start("sdxl"), torch.tensor(5), Text(model.text(PROMPTS)[0].tokens))
