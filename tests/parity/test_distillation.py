"""Delta denoising score and score distillation against numbers of the original implementation (tests/golden/diffusion)."""
import json
from types import SimpleNamespace

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from mm.diffusion.denoisers import denoiser
from mm.diffusion.distillation import DDS, SDS, Distillation
from mm.diffusion.schedule import levels
from mm.diffusion.text import Text
from tests.diffusion_pipelines import pipeline
from tests.golden import load
from tests.noise_model import ddim_scheduler, noise, pictures, prompts

TEXT, NULL = prompts(1, 1), prompts(1, 2)
LEVELS = levels(ddim_scheduler())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("method", ["dds", "sds"])
@pytest.mark.parametrize("name", ["eps", "v"])
def test_loss_size_and_gradient(name: str, method: str) -> None:
    golden = load("diffusion", "dds")
    arrays = SimpleNamespace(**{key.split("/")[1]: value for key, value in vars(golden).items() if key.startswith(name + "/")})
    meta = SimpleNamespace(**json.loads(golden.meta)[name])
    settings = (meta.guidance, meta.alpha_exp, meta.sigma_exp)
    source, target = (Text(each[:, 1]) for each in (arrays.emb_source, arrays.emb_target))
    without_source, without = (Text(each[:, 0]) for each in (arrays.emb_source, arrays.emb_target))
    chosen: Distillation = SDS(*settings) if method == "sds" else DDS(arrays.z_source, source, without_source, *settings)
    z = arrays.z_target.clone().requires_grad_()
    score = chosen.score(noise, levels(ddim_scheduler(prediction_type=meta.prediction_type)), z, target, without, arrays.eps,
                         torch.tensor(meta.timestep))
    score.loss.backward()  # type: ignore[no-untyped-call]
    for found, expected in ((score.loss, "loss"), (score.size, "log"), (z.grad, "grad")):
        assert found is not None
        torch.testing.assert_close(found, getattr(arrays, f"{method}_{expected}"), atol=2e-6, rtol=1e-5)


def test_dds_leaves_the_source_where_it_is() -> None:
    z = pictures(2)
    found = DDS(z, TEXT, NULL).optimise(noise, LEVELS, z, TEXT, NULL, generator(), steps=5)
    torch.testing.assert_close(found, z)


@pytest.mark.parametrize("scheduler", [ddim_scheduler(), FlowMatchEulerDiscreteScheduler()], ids=["ddim", "flow"])
def test_a_loop_repeats_and_depends_on_its_seed(scheduler: object) -> None:
    z, method, table = pictures(2), DDS(pictures(2), TEXT, NULL), levels(scheduler)
    runs = [method.optimise(noise, table, z, prompts(1, 5), NULL, generator(seed), steps=3, scale=100) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0], z)
    assert torch.equal(z, pictures(2))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_step_is_the_direction_weighted(kind: str) -> None:
    """SGD at lr on scale · loss moves latents by lr · scale / (h w) of the direction, each picture alike."""
    z, method, table = pictures(2), SDS(timesteps=(400, 401)), levels(ddim_scheduler(prediction_type=kind))
    draws = generator()
    torch.randint(400, 401, (2,), generator=draws)
    added = torch.randn(z.shape, generator=draws)
    start = z.clone().requires_grad_()
    method.score(noise, table, start, TEXT, NULL, added, torch.tensor([400, 400])).loss.backward()  # type: ignore[no-untyped-call]
    assert start.grad is not None
    found = method.optimise(noise, table, z, TEXT, NULL, generator(), steps=1, lr=0.5, scale=3.0)
    torch.testing.assert_close(found, z - 1.5 * start.grad)


def test_on_a_pipeline_without_a_trace() -> None:
    model = denoiser(pipeline("sdxl"))
    z = torch.randn(1, 4, 8, 8, generator=generator())
    source, negative = model.text(["a red circle"])
    target, _ = model.text(["a blue circle"])
    with torch.no_grad():
        found = DDS(z, source, negative).optimise(model, model.levels(), z, target, negative, generator(), steps=2)
    assert not torch.equal(found, z)
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in model.network.parameters())


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"DDS: source latents \[2, 3, 4, 4\] and target latents \[1, 3, 4, 4\]"):
        DDS(pictures(2), TEXT, NULL).optimise(noise, LEVELS, pictures(1), TEXT, NULL, generator(), steps=1)
    with pytest.raises(ValueError, match="SDS: timesteps"):
        SDS(timesteps=(50, 50))
    with pytest.raises(ValueError, match="while the model has 1000"):
        SDS(timesteps=(50, 1200)).optimise(noise, LEVELS, pictures(1), TEXT, NULL, generator(), steps=1)
