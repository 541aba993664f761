"""A loss that is good enough: less so at first, when the picture is mostly noise."""
from dataclasses import dataclass
from math import exp

PUBLISHED_STEPS = 50


@dataclass(frozen=True)
class Threshold:
    """beta · exp(-step / alpha). beta: at the first step. alpha: steps of a run of 50 in which it falls to 1/e; in runs of another length it falls to
    the same at the end, which is ours."""

    beta: float
    alpha: float

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise ValueError(f"a threshold falls over alpha steps, above 0; got {self.alpha}")

    def at(self, step: int, steps: int = PUBLISHED_STEPS) -> float:
        return self.beta * exp(-step * PUBLISHED_STEPS / steps / self.alpha)
