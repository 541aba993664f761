"""Edit-friendly DDPM inversion: Huberman-Spiegelglas et al., "An Edit Friendly DDPM Noise Space: Inversion and Manipulations", CVPR 2024.

Written from memory; neither the paper nor its code was at hand, and there is no recorded vector. Its skipping of the first steps is left out.
"""
from dataclasses import dataclass

import torch
from torch import Tensor

from mm.diffusion.guidance import Model, guided
from mm.diffusion.inversion.base import Inversion
from mm.diffusion.inversion.trajectory import Trajectory
from mm.diffusion.prediction import Level, parts
from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text


@dataclass(frozen=True)
class Noised(Trajectory):
    """A trajectory of the stochastic sampler (DDIM with eta = 1), with what was drawn at each step: every branch takes the same.

    drawn: T tensors [B, C, h, w], already times the step's deviation.
    """

    drawn: tuple[Tensor, ...] = ()

    def down(self, schedule: Schedule, step: int, z: Tensor, prediction: Tensor) -> Tensor:
        drawn = self.drawn[step].to(z)
        return _mean(schedule, step, z, prediction) + drawn.repeat(len(z) // len(drawn), *[1] * (z.ndim - 1))


class EditFriendly(Inversion):
    """Noisy latents are drawn independently for each step, and the noise of the stochastic sampler is what leads from each to the next.

    With the same text and guidance the sampler returns the picture, to rounding; with another text the same noise keeps what the picture looks like.
    It needs the sampler of `Trajectory.down`, which pipelines do not have: `reconstruct`, with the source's text or another.

    guidance: of the source's predictions; lower than the one of the edit, as a rule. seed: of the draws, the same for each picture of a batch.
    ValueError for flows, whose sampler is deterministic.
    """

    def __init__(self, guidance: float = 1.0, seed: int = 0) -> None:
        self.guidance, self.seed = guidance, seed

    @torch.no_grad()
    def invert(self, model: Model, schedule: Schedule, latents: Tensor, text: Text, negative: Text) -> Noised:
        if schedule.kind == "flow_prediction":
            raise ValueError("EditFriendly: the sampler of a flow draws nothing, so there is no noise to find; use Direct.")
        clean = latents.float() if latents.dtype in (torch.float16, torch.bfloat16) else latents
        text, negative = text.as_many_as(len(clean)), negative.as_many_as(len(clean))
        generator = torch.Generator().manual_seed(self.seed)
        path = []
        for alpha, sigma in schedule.high.to(clean.device, clean.dtype):
            path.append(alpha * clean + sigma * torch.randn(clean.shape[1:], generator=generator).to(clean))
        path.append(clean)
        drawn = []
        for step, timestep in enumerate(schedule.timesteps.to(clean.device)):
            prediction = guided(model, path[step], timestep, text, negative, self.guidance)
            drawn.append(path[step + 1] - _mean(schedule, step, path[step], prediction))
        return Noised(torch.stack(path), drawn=tuple(drawn))


def _mean(schedule: Schedule, step: int, z: Tensor, prediction: Tensor) -> Tensor:
    """Where a step with eta = 1 leads before its noise."""
    high, low = (Level(*levels[step].to(z.device, z.dtype)) for levels in (schedule.high, schedule.low))
    clean, noise = parts(schedule.kind, prediction, z, high)
    variance = (low.sigma / high.sigma) ** 2 * (1 - (high.alpha / low.alpha) ** 2)
    return low.alpha * clean + (low.sigma**2 - variance).clamp_min(0).sqrt() * noise
