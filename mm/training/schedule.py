"""Learning rate over the run, as a factor of each parameter group's own rate: a pure function of the step, so nothing of it needs saving."""
import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """warmup: steps over which the factor rises linearly from 1/warmup to 1. floor: the factor at the end."""

    def __init__(self, warmup: int = 0, floor: float = 0.0) -> None:
        self.warmup, self.floor = warmup, floor
        if warmup < 0 or not 0 <= floor <= 1:
            raise ValueError(f"warmup {warmup} and floor {floor}: expected at least 0, and between 0 and 1.")

    def factor(self, step: int, steps: int) -> float:
        """Factor for optimiser step `step`, counted from 0, of `steps`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, steps - self.warmup)
        return self.floor + (1 - self.floor) * self.decay(min(1.0, progress))

    @abstractmethod
    def decay(self, progress: float) -> float:
        """From 1 at progress 0, the end of the warm-up, to the end of the run at progress 1."""


class Cosine(Schedule):
    """SGDR without restarts (arXiv 1608.03983)."""

    def decay(self, progress: float) -> float:
        return (1 + math.cos(math.pi * progress)) / 2


class Linear(Schedule):
    """Straight down."""

    def decay(self, progress: float) -> float:
        return 1 - progress


class Constant(Schedule):
    """No decay; `floor` has no effect."""

    def decay(self, progress: float) -> float:
        return 1.0
