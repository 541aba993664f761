"""Negative-prompt inversion: Miyake et al., "Negative-prompt Inversion: Fast Image Inversion for Editing with Text-guided Diffusion Models", WACV
2025."""
from torch import Tensor

from mm.diffusion.guidance import Model
from mm.diffusion.inversion.base import Inversion
from mm.diffusion.inversion.ddim import walk_up
from mm.diffusion.inversion.trajectory import Trajectory
from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text


class NegativePrompt(Inversion):
    """The source's own prompt stands in place of the negative one, at every step: for the source branch guidance cancels, so that it is DDIM
    inversion at guidance 1.

    What null-text optimisation would find, if the model were its own optimum; nothing is optimised. `Trajectory.negative` gives tokens; what is
    pooled beside them (SDXL, SD3, Flux) is the source prompt's too: give it as the pipeline's negative prompt.
    """

    def invert(self, model: Model, schedule: Schedule, latents: Tensor, text: Text, negative: Text) -> Trajectory:
        text = text.as_many_as(len(latents))
        return Trajectory(walk_up(model, schedule, latents, text), negatives=(text,) * len(schedule))
