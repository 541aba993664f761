"""Attend-and-Excite: Chefer et al., "Attend-and-Excite: Attention-Based Semantic Guidance for Text-to-Image Diffusion Models", SIGGRAPH 2023.

An object that no pixel attends to does not appear. So before the early steps, the latent moves to where the most neglected noun is attended to more.
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from mm.diffusion.dynamic.reader import Reader
from mm.diffusion.guidance import Model, guided
from mm.diffusion.leakage import Columns, balance
from mm.diffusion.moment import Moment, Window
from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text


@dataclass(frozen=True)
class AttendAndExcite:
    """Read in the released code, not run; its loss equals recorded numbers (`mm.diffusion.leakage.balance`).

    nouns: keys of their tokens. scale: of a move, at the first step; it falls with √linspace(1, last, T). window: of the steps before which the
    latent moves once; the first 25 of 50. floors: at which share of the run the lowest peak must have reached what; there the latent moves up to
    `refinements` times before. They are steps 0, 10 and 20 of 50; shares of runs of another length are ours. over: the most neglected noun, or all.
    """

    nouns: Columns
    scale: float = 20.0
    last: float = 0.5
    window: Window = field(default_factory=lambda: Window(0.0, 0.5))
    floors: Mapping[float, float] = field(default_factory=lambda: {0.0: 0.05, 0.2: 0.5, 0.4: 0.8})
    refinements: int = 20
    over: Literal["max", "mean"] = "max"

    def size(self, moment: Moment) -> float:
        """Of a move."""
        share = moment.step / (moment.steps - 1) if moment.steps > 1 else 0.0
        return self.scale * (1 + (self.last - 1) * share) ** 0.5

    def moved(self, latents: Tensor, moment: Moment, look: Callable[[Tensor], Tensor]) -> Tensor:
        """Latents [B, C, h, w] as the step shall find them. look: latents → maps [B, H, W, K] of the conditional rows, with gradients.

        Each picture moves by its own loss, so a batch gives what its pictures give alone.
        """
        for share, floor in self.floors.items():
            if int(share * moment.steps) == moment.step:
                latents = self._refined(latents, self.size(moment), 1 - floor, look)
        if not self.window.holds(moment):
            return latents
        losses, gradient = self._slope(latents, look)
        return _minus(latents, self.size(moment) * gradient, losses > 0)

    def _refined(self, latents: Tensor, size: float, most: float, look: Callable[[Tensor], Tensor]) -> Tensor:
        for _ in range(self.refinements):
            losses, gradient = self._slope(latents, look)
            if not bool((losses > most).any()):
                break
            latents = _minus(latents, size * gradient, losses > most)
        return latents

    def _slope(self, latents: Tensor, look: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Losses [B] and their gradients [B, C, h, w], in float32 at least."""
        with torch.enable_grad():
            free = latents.detach().to(torch.promote_types(latents.dtype, torch.float32)).requires_grad_()
            losses = balance(look(free), self.nouns, self.over)
            (gradient,) = torch.autograd.grad(losses.sum(), free)
        return losses.detach(), gradient

    def sample(self, model: Model, reader: Reader, schedule: Schedule, noise: Tensor, text: Text, negative: Text, guidance: float = 7.5) -> Tensor:
        """A whole run from noise [B, C, h, w] to the last latents, B prompts or one for all."""
        text, negative = text.as_many_as(len(noise)), negative.as_many_as(len(noise))
        latents = noise
        for step, timestep in enumerate(schedule.timesteps.to(noise.device)):
            latents = self.moved(latents, Moment(step, len(schedule)), lambda free, now=timestep: reader.words(free, now, text))  # type: ignore[misc]
            with torch.no_grad():
                latents = schedule.down(step, latents, guided(model, latents, timestep, text, negative, guidance))
        return latents

    def beside(self, reader: Reader, text: Text, steps: int) -> "Beside":
        """For a pipeline's own loop: `pipe(..., latents=beside.first(pipe, latents), callback_on_step_end=beside)`."""
        return Beside(self, reader, text, steps)


@dataclass(frozen=True)
class Beside:
    """The edit in a pipeline of diffusers, whose loop offers a place after each step: what is before a step is after the one before it, and `first`
    is before the first. For schedulers that do not scale the model's input."""

    edit: AttendAndExcite
    reader: Reader
    text: Text
    steps: int

    def first(self, pipe: Any, latents: Tensor) -> Tensor:
        pipe.scheduler.set_timesteps(self.steps, device=latents.device)
        return self._before(pipe, 0, latents)

    def __call__(self, pipe: Any, step: int, timestep: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
        return given if step + 1 == self.steps else given | {"latents": self._before(pipe, step + 1, given["latents"])}

    def _before(self, pipe: Any, step: int, latents: Tensor) -> Tensor:
        text = self.text.as_many_as(len(latents))
        timestep = pipe.scheduler.timesteps[step]
        return self.edit.moved(latents, Moment(step, self.steps), lambda free: self.reader.words(free, timestep, text))


def _minus(latents: Tensor, move: Tensor, moving: Tensor) -> Tensor:
    """Latents less the move, where moving [B]."""
    moving = moving.view(-1, *[1] * (latents.ndim - 1))
    return torch.where(moving, latents.to(move) - move, latents.to(move)).to(latents.dtype)
