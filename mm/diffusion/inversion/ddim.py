"""DDIM inversion: Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", NeurIPS 2021; for flows, Euler's method backwards.

Step i of sampling leads from timestep t = timesteps[i] to level t - N / T. It is walked back from level t - N / T (the scheduler's final level,
after the last step) to level t, with what the model predicts at timestep t, the one that it will be told on the way down, for a latent that is not
there yet. That approximation is all the error there is, without guidance; guidance multiplies it.

diffusers' `DDIMInverseScheduler` (0.42) pairs levels and timesteps in the same way, for both of its spacings and any steps_offset: its steps are
ours to the bit, so it is not off by one, where its settings are the sampler's (`DDIMInverseScheduler.from_config(pipe.scheduler.config)`).
"""
import torch
from torch import Tensor

from mm.diffusion.guidance import Model
from mm.diffusion.inversion.base import Inversion
from mm.diffusion.inversion.trajectory import Trajectory
from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text


class DDIM(Inversion):
    """Nothing but the way up, without guidance. Sampling from its noise comes near the picture for guidance 1 and drifts away for more."""

    def invert(self, model: Model, schedule: Schedule, latents: Tensor, text: Text, negative: Text) -> Trajectory:
        return Trajectory(walk_up(model, schedule, latents, text))


@torch.no_grad()
def walk_up(model: Model, schedule: Schedule, latents: Tensor, text: Text) -> Tensor:
    """[T + 1, B, C, h, w] in the order of sampling, noise first; the last is `latents` [B, C, h, w]. One call of the model a step."""
    if latents.dtype in (torch.float16, torch.bfloat16):
        latents = latents.float()  # T small steps would lose what half precision cannot hold
    text = text.as_many_as(len(latents))
    path = [latents]
    for step in reversed(range(len(schedule))):
        prediction = model(path[-1], schedule.timesteps[step].to(latents.device), text)
        path.append(schedule.up(step, path[-1], prediction))
    return torch.stack(path[::-1])
