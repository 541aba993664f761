"""How the source's latent goes on, now that its prompt reads otherwise at every step."""
from abc import ABC, abstractmethod
from dataclasses import replace

from torch import Tensor

from mm.diffusion.guidance import Model
from mm.diffusion.inversion import NullText, Trajectory
from mm.diffusion.inversion.direct import PutBack
from mm.diffusion.schedule import Schedule
from mm.diffusion.text import Text


class Following(ABC):
    """Keeps sampling on a trajectory."""

    @abstractmethod
    def step(self, model: Model, schedule: Schedule, step: int, z: Tensor, goal: Tensor, text: Text, negative: Text) -> tuple[Tensor, Text]:
        """The latent after step `step`, of z before it and of the trajectory's `goal` after it; and what the next step gets as `negative`."""

    @abstractmethod
    def trajectory(self, inverted: Trajectory, negatives: tuple[Text, ...]) -> Trajectory:
        """What an edit needs. inverted: what words were learned along. negatives: what each step returned."""


class AlongNullText(NullText, Following):
    """Null-text inversion of each step, with the prompt of that step (Dynamic Prompt Learning): 51 updates a step, none left out, as released.

    The prompt's prediction is computed once a step; the released code does so before every update, to the same effect at twice the cost.
    """

    def __init__(self, guidance: float = 7.5, inner: int = 51, lr: float = 1e-2, span: int | None = None, tolerance: float = 0.0,
                 slack: float = 0.0) -> None:
        super().__init__(guidance, inner, lr, span, tolerance, slack)

    def trajectory(self, inverted: Trajectory, negatives: tuple[Text, ...]) -> Trajectory:
        return replace(inverted, negatives=negatives)


class Held(Following):
    """The source is put back on its trajectory after every step (direct inversion), so that nothing has to be optimised for it; ours."""

    def step(self, model: Model, schedule: Schedule, step: int, z: Tensor, goal: Tensor, text: Text, negative: Text) -> tuple[Tensor, Text]:
        return goal, negative

    def trajectory(self, inverted: Trajectory, negatives: tuple[Text, ...]) -> Trajectory:
        return PutBack(inverted.latents)
