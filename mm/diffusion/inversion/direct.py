"""Direct inversion: Ju et al., "PnP Inversion: Boosting Diffusion-based Editing with 3 Lines of Code", ICLR 2024."""
from dataclasses import dataclass

from torch import Tensor

from mm.diffusion.guidance import Model
from mm.diffusion.inversion.base import Inversion
from mm.diffusion.inversion.ddim import walk_up
from mm.diffusion.inversion.trajectory import Trajectory
from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text


@dataclass(frozen=True)
class PutBack(Trajectory):
    """A trajectory to which the source branch is held."""

    def source(self, step: int) -> Tensor:
        return self.latents[step + 1]


class Direct(Inversion):
    """DDIM inversion, and the source branch is put back on its way after every step: the source's latents *are* the trajectory, to the bit.

    The paper adds the difference between trajectory and source branch to the source branch, which is the same but for rounding. The edited branches
    keep what they have become (adding the difference to them as well is an ablation there). The default: nothing is optimised, and the source is
    reconstructed exactly whatever the guidance.
    """

    def invert(self, model: Model, schedule: Schedule, latents: Tensor, text: Text, negative: Text) -> PutBack:
        return PutBack(walk_up(model, schedule, latents, text))
