"""Losses together: how much each counts, and when all are good enough."""
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mm.diffusion.leakage.threshold import Threshold


@dataclass(frozen=True)
class Term:
    """loss: of maps [H, W, K], a scalar. threshold: below which it is good enough; None for a loss that nothing waits for."""

    name: str
    loss: Callable[[Tensor], Tensor]
    weight: float
    threshold: Threshold | None = None


@dataclass(frozen=True)
class Objective:
    """Terms of weight 0 are left out: neither computed nor waited for."""

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(term for term in self.terms if term.weight))
        if not self.terms:
            raise ValueError("no loss has a weight other than 0, so there is nothing to learn")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(term.name for term in self.terms)

    def losses(self, maps: Tensor) -> Tensor:
        """[terms], unweighted, of maps [H, W, K]."""
        return torch.stack([term.loss(maps) for term in self.terms])

    def total(self, losses: Tensor) -> Tensor:
        """The weighted sum, of what `losses` gave."""
        return (losses * losses.new_tensor([term.weight for term in self.terms])).sum()

    def reached(self, losses: Tensor, step: int, steps: int) -> bool:
        """Whether every loss is below its threshold at this step."""
        return all(term.threshold is None or value < term.threshold.at(step, steps) for term, value in zip(self.terms, losses.tolist(), strict=True))
