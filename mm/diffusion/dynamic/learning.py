"""Words that are learned anew at every step: Wang et al., "Dynamic Prompt Learning: Addressing Cross-Attention Leakage for Text-Based Image Editing",
NeurIPS 2023. Its losses are DPL's; LocInv has others."""
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mm.diffusion.dynamic.following import AlongNullText, Following
from mm.diffusion.dynamic.learned import Learned
from mm.diffusion.dynamic.reader import Reader
from mm.diffusion.dynamic.wording import Wording
from mm.diffusion.guidance import Model
from mm.diffusion.inversion import Trajectory
from mm.diffusion.leakage import Columns, Objective
from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text


@dataclass(frozen=True)
class Scene:
    """One picture to learn words for. trajectory: of its inversion with `prompt`. nouns: keys of their tokens. negative: what guidance leads away
    from.

    ValueError for several pictures: each has its own words.
    """

    model: Model
    reader: Reader
    schedule: Schedule
    trajectory: Trajectory
    wording: Wording
    prompt: str
    nouns: Columns
    negative: Text

    def __post_init__(self) -> None:
        if len(self.trajectory.noise) != 1:
            raise ValueError(f"a trajectory of {len(self.trajectory.noise)} pictures; words are learned for one picture, so give one at a time")
        if len(self.trajectory.latents) != len(self.schedule) + 1:
            raise ValueError(f"a trajectory of {len(self.trajectory.latents) - 1} steps and a schedule of {len(self.schedule)}; invert with the same")

    def timestep(self, step: int) -> Tensor:
        return self.schedule.timesteps[step].to(self.trajectory.latents.device)


class Goal(NamedTuple):
    """What a picture's words shall become, and its background [H, W] where that was looked for."""

    objective: Objective
    background: Tensor | None = None


class Learning(ABC):
    """For each step, from the noise down: update the nouns' embeddings until every loss is below its threshold of that step, which is looked at
    before an update; then go on with the sampler, on the trajectory.

    Args:
        updates: of a step, at most.
        lr, weight_decay: of AdamW, which begins anew at every step; the embeddings go on from the step before.
        following: how the source's latent stays on its trajectory.
        words_at, pixels_at: of `AttentionReader`, where whoever makes the scene leaves the reader to this.

    Gradients are taken without guidance, of the conditional branch alone. Costs up to T · updates forwards with gradients, of which the reader may
    leave out what follows the last attention whose maps count.
    """

    def __init__(self, updates: int = 20, lr: float = 1e-3, weight_decay: float = 1e-2, following: Following | None = None,
                 words_at: float = 4, pixels_at: float = 2) -> None:
        if updates < 0 or lr <= 0:
            raise ValueError(f"updates={updates} and lr={lr}; expected updates of at least 0 and lr above 0")
        self.updates, self.lr, self.weight_decay = updates, lr, weight_decay
        self.following = AlongNullText() if following is None else following
        self.words_at, self.pixels_at = words_at, pixels_at

    @abstractmethod
    def goal(self, scene: Scene) -> Goal:
        """Before the first step."""

    def learn(self, scene: Scene) -> Learned:
        """The embeddings stay in `scene.wording` as the last step left them."""
        objective, background = self.goal(scene)
        z, negative, found, negatives = scene.trajectory.noise, scene.negative, [], []
        for step in range(len(scene.schedule)):
            found.append(self.learned_step(scene, objective, z, step))
            with torch.no_grad():
                text = scene.wording.text(scene.prompt)
            z, negative = self.following.step(scene.model, scene.schedule, step, z, scene.trajectory.latents[step + 1], text, negative)
            negatives.append(negative)
        rows = tuple(torch.stack(encoder) for encoder in zip(*(each.rows for each in found), strict=True))
        return Learned(rows, self.following.trajectory(scene.trajectory, tuple(negatives)), torch.stack([each.maps for each in found]),
                       torch.stack([torch.stack([each.first, each.last]) for each in found]), objective.names,
                       torch.tensor([each.updates for each in found]), background)

    def learned_step(self, scene: Scene, objective: Objective, z: Tensor, step: int) -> "Step":
        """Updates the rows of `scene.wording` for latent z [1, C, h, w] of one step."""
        rows = scene.wording.rows
        optimiser = torch.optim.AdamW(rows, lr=self.lr, weight_decay=self.weight_decay)
        seen: list[Tensor] = []
        for update in range(self.updates + 1):
            with torch.set_grad_enabled(update < self.updates):
                maps = scene.reader.words(z.detach(), scene.timestep(step), scene.wording.text(scene.prompt))[0]
                losses = objective.losses(maps)
            seen.append(losses.detach())
            if update == self.updates or objective.reached(seen[-1], step, len(scene.schedule)):
                break
            total = objective.total(losses)
            gradients = torch.autograd.grad(total, rows, allow_unused=True) if total.requires_grad else [None] * len(rows)
            for index, (row, gradient) in enumerate(zip(rows, gradients, strict=True)):
                if gradient is None:
                    raise ValueError(f"the text encoder {index} does not read the nouns of {scene.prompt!r}, or no map depends on it; give "
                                     "DynamicTokens the ids that it gets")
                row.grad = gradient  # of nothing else: encoder and denoiser may be someone's who trains them
            optimiser.step()
        optimiser.zero_grad()
        return Step([row.detach().clone() for row in rows], maps.detach(), seen[0], seen[-1], update)


class Step(NamedTuple):
    """rows: of each encoder [R, d]. maps [H, W, K]. first, last [n]: losses. updates: made."""

    rows: list[Tensor]
    maps: Tensor
    first: Tensor
    last: Tensor
    updates: int
