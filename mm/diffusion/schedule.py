"""The steps of a deterministic sampler, to be walked down (sampling) and up (inversion): DDIM, Song et al., "Denoising Diffusion Implicit Models",
ICLR 2021, and Euler's method for rectified flows. In terms of the clean latent and the noise they are one formula."""
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from mm.diffusion.prediction import Kind, Level, kind, parts

Scheduler: TypeAlias = Any  # of diffusers, whose schedulers share no typed base

@dataclass(frozen=True)
class Schedule:
    """T steps, the noisiest first.

    timesteps [T]: what the model is told at each step. high, low [T, 2]: alpha and sigma where a step begins and where it ends, as the scheduler has
    them: step i of DDIM ends at level timesteps[i] - N // T, whatever the next timestep is. kind: what the model predicts.
    """

    timesteps: Tensor
    high: Tensor
    low: Tensor
    kind: Kind

    def __len__(self) -> int:
        return len(self.timesteps)

    def down(self, step: int, z: Tensor, prediction: Tensor) -> Tensor:
        """The latent after step `step`, of the latent before it and what the model predicts there."""
        return _moved(self.kind, z, prediction, self.high[step], self.low[step])

    def up(self, step: int, z: Tensor, prediction: Tensor) -> Tensor:
        """The latent before step `step`, of the latent after it and a prediction: the inverse of `down` for one and the same noise (`epsilon`), or
        for one and the same prediction to first order. ValueError where `sample` is predicted for a latent without noise: that says nothing of
        noise."""
        if self.kind == "sample" and self.low[step, 1] == 0:
            raise ValueError(f"Schedule: step {step} ends without noise, and a model that predicts the clean sample says nothing of the noise there; "
                             "build the scheduler with set_alpha_to_one=False.")
        return _moved(self.kind, z, prediction, self.low[step], self.high[step])


@dataclass(frozen=True)
class Levels:
    """alpha and sigma of every training timestep, [N, 2], and what the model predicts."""

    table: Tensor
    kind: Kind

    def at(self, timestep: Tensor, like: Tensor) -> Level:
        """The levels of B timesteps, shaped to broadcast against latents `like` [B, ...]."""
        rows = self.table.to(like.device, like.dtype)[timestep.long().to(like.device)]
        shape = (-1, *[1] * (like.ndim - 1))
        return Level(rows[:, 0].view(shape), rows[:, 1].view(shape))


def _moved(kind: Kind, z: Tensor, prediction: Tensor, start: Tensor, end: Tensor) -> Tensor:
    start, end = start.to(z.device, z.dtype), end.to(z.device, z.dtype)
    clean, noise = parts(kind, prediction, z, Level(*start))
    return end[0] * clean + end[1] * noise


def ddim(scheduler: Scheduler, steps: int) -> Schedule:
    """The steps that a DDIMScheduler would take, eta = 0. The scheduler is left as it is. ValueError where it clips or thresholds: that cannot be
    undone."""
    config = scheduler.config
    if config.clip_sample or config.thresholding:
        raise ValueError("DDIMScheduler: clip_sample or thresholding is on, which alters what the model predicts, so steps cannot be inverted; "
                         "use DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False, thresholding=False).")
    if config.prediction_type == "epsilon" and config.rescale_betas_zero_snr:
        raise ValueError("DDIMScheduler: rescale_betas_zero_snr with prediction_type 'epsilon' begins without signal, where noise says "
                         "nothing of the picture; use v_prediction, or rescale_betas_zero_snr=False.")
    timesteps = _timed(scheduler, steps).timesteps
    before = timesteps - config.num_train_timesteps // steps
    alphas = scheduler.alphas_cumprod
    low = torch.where(before >= 0, alphas[before.clamp_min(0)], scheduler.final_alpha_cumprod)
    return Schedule(timesteps, _sides(alphas[timesteps]), _sides(low), kind(config.prediction_type))


def flow(scheduler: Scheduler, steps: int, mu: float | None = None, sigmas: Sequence[float] | None = None) -> Schedule:
    """The steps that a FlowMatchEulerDiscreteScheduler would take; mu and sigmas as pipelines give them. ValueError where it samples
    stochastically."""
    if scheduler.config.stochastic_sampling:
        raise ValueError("FlowMatchEulerDiscreteScheduler: stochastic_sampling is on, so steps cannot be inverted; "
                         "build it with stochastic_sampling=False.")
    timed = copy.deepcopy(scheduler)
    timed.set_timesteps(None if sigmas is not None else steps, sigmas=None if sigmas is None else list(sigmas), mu=mu)
    levels = torch.stack([1 - timed.sigmas, timed.sigmas], 1).float()
    return Schedule(timed.timesteps, levels[:-1], levels[1:], "flow_prediction")


def schedule(scheduler: Scheduler, steps: int, mu: float | None = None, sigmas: Sequence[float] | None = None) -> Schedule:
    """The steps of a pipeline's scheduler; ValueError for one that has no deterministic one-step formula to walk back."""
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
    if isinstance(scheduler, DDIMScheduler):
        return ddim(scheduler, steps)
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        return flow(scheduler, steps, mu, sigmas)
    other = "FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config)" if kind_of(scheduler) == "flow_prediction" else \
        "DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False, set_alpha_to_one=False)"
    raise ValueError(f"{type(scheduler).__name__}: inversion walks the steps of DDIMScheduler or FlowMatchEulerDiscreteScheduler; "
                     f"set pipe.scheduler = {other}, for inversion and for editing.")


def levels(scheduler: Scheduler) -> Levels:
    """How noisy each training timestep is, for any scheduler that has `alphas_cumprod`, or is of a flow: there sigma = t / N, unshifted."""
    predicted = kind_of(scheduler)
    if predicted == "flow_prediction":
        sigma = torch.arange(scheduler.config.num_train_timesteps) / scheduler.config.num_train_timesteps
        return Levels(torch.stack([1 - sigma, sigma], 1), predicted)
    if not hasattr(scheduler, "alphas_cumprod"):
        raise ValueError(f"{type(scheduler).__name__}: found no alphas_cumprod, and no flow; expected a scheduler of a diffusion or flow model.")
    return Levels(_sides(scheduler.alphas_cumprod), predicted)


def kind_of(scheduler: Scheduler) -> Kind:
    """What the models predict that a scheduler samples from; ValueError for one that names another prediction, or none."""
    if "FlowMatch" in type(scheduler).__name__:
        return "flow_prediction"
    return kind(scheduler.config.get("prediction_type"))


def _sides(alphas_cumprod: Tensor) -> Tensor:
    return torch.stack([alphas_cumprod**0.5, (1 - alphas_cumprod) ** 0.5], 1)


def _timed(scheduler: Scheduler, steps: int) -> Scheduler:
    timed = copy.deepcopy(scheduler)
    timed.set_timesteps(steps)
    return timed
