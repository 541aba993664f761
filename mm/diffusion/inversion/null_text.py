"""Null-text inversion: Mokady et al., "Null-text Inversion for Editing Real Images using Guided Diffusion Models", CVPR 2023."""
import torch
from torch import Tensor

from mm.diffusion.guidance import Model
from mm.diffusion.inversion.base import Inversion
from mm.diffusion.inversion.ddim import walk_up
from mm.diffusion.inversion.trajectory import Trajectory
from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text


class NullText(Inversion):
    """For each step, tokens in place of the negative prompt with which guided sampling stays on the trajectory of DDIM inversion.

    From the noise down: the tokens of the step before are optimised (Adam) until u + guidance (c - u) leads to the trajectory's next latent, in mean
    squared error; then the step is taken with them. c is computed once a step.

    Args:
        guidance: must be the one of the edit. inner: updates a step, at most. lr: of the first step; it falls by lr / span a step.
        span: 2 T when None: over T steps the rate halves, which is the published i / 100 for T = 50. tolerance, slack: a step's updates end after
        the one whose loss, taken before it, was below tolerance + slack · step.

    Each picture of a batch has its own tokens, its own optimiser and its own end, so that a batch gives what its pictures alone give. Only tokens are
    optimised; what the model reads pooled beside them stays the negative prompt's. At most T (3 + inner) passes, T · inner of them with
    gradients.
    """

    def __init__(self, guidance: float = 7.5, inner: int = 10, lr: float = 1e-2, span: int | None = None, tolerance: float = 1e-5,
                 slack: float = 2e-5) -> None:
        if inner < 0 or lr <= 0 or (span is not None and span <= 0):
            raise ValueError(f"NullText: inner={inner}, lr={lr}, span={span}; expected inner of at least 0, and lr and span above 0.")
        self.guidance, self.inner, self.lr, self.span, self.tolerance, self.slack = guidance, inner, lr, span, tolerance, slack

    def invert(self, model: Model, schedule: Schedule, latents: Tensor, text: Text, negative: Text) -> Trajectory:
        text, negative = text.as_many_as(len(latents)), negative.as_many_as(len(latents))
        path = walk_up(model, schedule, latents, text)
        z, found = path[0], []
        for step in range(len(schedule)):
            z, negative = self.step(model, schedule, step, z, path[step + 1], text, negative)
            found.append(negative)
        return Trajectory(path, negatives=tuple(found))

    def step(self, model: Model, schedule: Schedule, step: int, z: Tensor, goal: Tensor, text: Text, negative: Text) -> tuple[Tensor, Text]:
        """One step from latents z [B, C, h, w], which is to lead to `goal`: where it leads, and the negative text found for it, the start of the next
        step's. B prompts each."""
        with torch.no_grad():
            given = model(z, schedule.timesteps[step].to(z.device), text)
        null = self._optimised(model, schedule, step, z, goal, given, negative)
        with torch.no_grad():
            return self._next(model, schedule, step, z, given, null), null

    def _next(self, model: Model, schedule: Schedule, step: int, z: Tensor, given: Tensor, null: Text) -> Tensor:
        without = model(z, schedule.timesteps[step].to(z.device), null)
        return schedule.down(step, z, without + self.guidance * (given - without))

    def _optimised(self, model: Model, schedule: Schedule, step: int, z: Tensor, goal: Tensor, given: Tensor, negative: Text) -> Text:
        tokens = [row.clone().requires_grad_() for row in negative.tokens.detach().to(z.dtype).split(1)]
        lr = self.lr * (1 - step / (self.span or 2 * len(schedule)))
        optimisers = [torch.optim.Adam([row], lr=lr) for row in tokens]
        going = list(range(len(tokens)))
        for _ in range(self.inner):
            if not going:
                break
            active = [tokens[row] for row in going]
            with torch.enable_grad():
                reached = self._next(model, schedule, step, z[going], given[going], negative.rows(going).with_tokens(torch.cat(active)))
                losses = (reached - goal[going]).square().flatten(1).mean(1)
                gradients = torch.autograd.grad(losses.sum(), active)  # of nothing else: the model may be someone's who trains it
            for row, gradient in zip(going, gradients, strict=True):
                tokens[row].grad = gradient
                optimisers[row].step()
            bound = self.tolerance + self.slack * step
            going = [row for row, loss in zip(going, losses.tolist(), strict=True) if not loss < bound]
        return negative.with_tokens(torch.cat([row.detach() for row in tokens]))
