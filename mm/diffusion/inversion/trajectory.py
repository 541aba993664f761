"""What an inversion found: the way from a picture's latent to noise, and what an edit needs to come back."""
from dataclasses import dataclass

from torch import Tensor

from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text


@dataclass(frozen=True)
class Trajectory:
    """B pictures on their way of T steps.

    latents [T + 1, B, C, h, w], in the order of sampling: the noise to start from first, the picture's own latent last. negatives: for each step,
    the text to be put in place of the negative prompt, None where the negative prompt stays.
    """

    latents: Tensor
    negatives: tuple[Text, ...] | None = None

    @property
    def noise(self) -> Tensor:
        """[B, C, h, w]: where sampling starts."""
        return self.latents[0]

    def source(self, step: int) -> Tensor | None:
        """[B, C, h, w]: the latent that the source branch gets after step `step`, whatever it has become; None where it keeps what it has become."""
        return None

    def negative(self, step: int) -> Tensor | None:
        """[B, L, D]: the tokens that every branch reads in place of the negative prompt at step `step`; None where the negative prompt stays."""
        return None if self.negatives is None else self.negatives[step].tokens

    def down(self, schedule: Schedule, step: int, z: Tensor, prediction: Tensor) -> Tensor:
        """The sampler's step for a branch."""
        return schedule.down(step, z, prediction)

    def after_step(self, latents: Tensor, step: int) -> Tensor:
        """`latents` [branches · B, ...] after step `step`, branch by branch, the source first; the source put back where that is due."""
        source = self.source(step)
        if source is None:
            return latents
        if latents.shape[1:] != source.shape[1:] or len(latents) % len(source):
            raise ValueError(f"Trajectory: latents {list(latents.shape)} after step {step}, while the source is {list(source.shape)}; expected whole "
                             "branches of latents of its shape (Flux: Denoiser.native packs the trajectory as the pipeline does).")
        changed = latents.clone()
        changed[:len(source)] = source.to(latents)
        return changed
