"""A way back from a picture to noise."""
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from mm.diffusion.guidance import Model, guided
from mm.diffusion.inversion.trajectory import Trajectory
from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text


class Inversion(ABC):
    """A method with its parameters. It knows nothing of a model before `invert`, and keeps nothing after it."""

    @abstractmethod
    def invert(self, model: Model, schedule: Schedule, latents: Tensor, text: Text, negative: Text) -> Trajectory:
        """latents [B, C, h, w] of pictures, `text` what they show and `negative` the prompt that edits are guided away from, usually empty; one
        prompt for all pictures or one each. A batch gives what its pictures alone give."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items() if not name.startswith('_'))})"


@torch.no_grad()
def reconstruct(model: Model, schedule: Schedule, trajectory: Trajectory, text: Text, negative: Text | None = None, guidance: float = 1.0) -> Tensor:
    """The source branch of an edit, alone: latents [T + 1, B, C, h, w] from the trajectory's noise down to a picture.

    guidance: classifier-free guidance against the trajectory's own negative texts, or else `negative`. Where the trajectory puts the source back, the
    model is not asked, for nothing of its answer would be left.
    """
    if len(trajectory.latents) != len(schedule) + 1:
        raise ValueError(f"Trajectory: {len(trajectory.latents) - 1} steps, while the schedule has {len(schedule)}; "
                         "invert and sample with the same number.")
    z = trajectory.noise
    text = text.as_many_as(len(z))
    path = [z]
    for step, timestep in enumerate(schedule.timesteps.to(z.device)):
        source = trajectory.source(step)
        if source is None:
            against = negative if trajectory.negatives is None else trajectory.negatives[step]
            prediction = guided(model, z, timestep, text, None if against is None else against.as_many_as(len(z)), guidance)
            z = trajectory.down(schedule, step, z, prediction)
        else:
            z = source
        path.append(z)
    return torch.stack(path)
