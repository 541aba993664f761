"""Latents moved by what a diffusion model says of them, without sampling."""
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mm.diffusion.guidance import Model, guided
from mm.diffusion.prediction import parts
from mm.diffusion.schedule import Levels
from mm.diffusion.text import Text


class Score(NamedTuple):
    """loss: to be differentiated; its gradient with respect to the latents is the direction, divided by their h w. size: the direction's mean square,
    which says how far there is to go, while the loss says nothing."""

    loss: Tensor
    size: Tensor


class Distillation(ABC):
    """A direction for latents, from predictions at one noise level.

    Args:
        guidance: classifier-free guidance. alpha_power, sigma_power: the direction is weighted with alpha^p sigma^q of its level; 0 and 0 are DDS's.
        timesteps: the first and the last (not included) that are drawn.
    """

    def __init__(self, guidance: float = 7.5, alpha_power: float = 0.0, sigma_power: float = 0.0, timesteps: tuple[int, int] = (50, 949)) -> None:
        if not 0 <= timesteps[0] < timesteps[1]:
            raise ValueError(f"{type(self).__name__}: timesteps {timesteps}; expected the first and one beyond the last.")
        self.guidance, self.alpha_power, self.sigma_power, self.timesteps = guidance, alpha_power, sigma_power, timesteps

    @abstractmethod
    def direction(self, predicted: Tensor, noise: Tensor, noisy: Callable[[Tensor, Text, Text], Tensor]) -> Tensor:
        """predicted: the noise that the model sees in the target, guided [B, C, h, w]. noise: what was added. noisy: the same of other latents with
        the same noise, a text and a negative one."""

    def score(self, model: Model, levels: Levels, latents: Tensor, text: Text, negative: Text, noise: Tensor, timestep: Tensor) -> Score:
        """latents, noise [B, C, h, w], timestep [B]. The loss is the sum of latents times direction over batch and channels, by h w only, as
        published: a batch of two moves each of its pictures as far as alone."""
        level = levels.at(timestep, latents)

        def seen(z: Tensor, given: Text, without: Text) -> Tensor:
            mixed = level.alpha * z + level.sigma * noise
            many = len(mixed)
            prediction = guided(model, mixed, timestep, given.as_many_as(many), without.as_many_as(many), self.guidance)
            return parts(levels.kind, prediction, mixed, level).noise

        with torch.no_grad():
            direction = self.direction(seen(latents, text, negative), noise, seen)
            direction = level.alpha**self.alpha_power * level.sigma**self.sigma_power * direction
        height, width = latents.shape[-2:]
        return Score((latents * direction).sum() / (height * width), direction.square().mean())

    def optimise(self, model: Model, levels: Levels, latents: Tensor, text: Text, negative: Text, generator: torch.Generator, steps: int = 200,
                 lr: float = 0.1, scale: float = 2000.0) -> Tensor:
        """latents [B, C, h, w] after `steps` of SGD at `lr` on `scale` times the loss, timesteps and noise drawn on the generator's
        device. A step is lr · scale / (h w) of the direction: about 0.05 for 64 × 64 latents, so small latents want a smaller scale. ValueError where
        timesteps lie beyond the model's."""
        if self.timesteps[1] > len(levels.table):
            raise ValueError(f"{type(self).__name__}: timesteps {self.timesteps}, while the model has {len(levels.table)}; give a smaller range.")
        moved = latents.detach().clone().requires_grad_()
        optimiser = torch.optim.SGD([moved], lr=lr)
        for _ in range(steps):
            timestep = torch.randint(*self.timesteps, (len(moved),), generator=generator, device=generator.device).to(moved.device)
            noise = torch.randn(moved.shape, generator=generator, device=generator.device).to(moved)
            with torch.enable_grad():
                loss = scale * self.score(model, levels, moved, text, negative, noise, timestep).loss
            moved.grad, = torch.autograd.grad(loss, [moved])
            optimiser.step()
        return moved.detach()
