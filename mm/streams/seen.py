"""Which of the media before it a token sees: Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022."""
from abc import ABC, abstractmethod

import numpy as np


class Seen(ABC):
    """A choice among the media that stand before a token on its own path; of other documents and branches there is nothing to choose."""

    @abstractmethod
    def __call__(self, before: np.ndarray) -> np.ndarray:
        """before: bool [T, M], which media stand before each of T tokens, in their order. → those that it sees; none where there are none."""


class Immediate(Seen):
    """The last one alone: Flamingo's choice."""

    def __call__(self, before: np.ndarray) -> np.ndarray:
        return before & (before.cumsum(1) == before.sum(1, keepdims=True))


class AllPrevious(Seen):
    """All of them."""

    def __call__(self, before: np.ndarray) -> np.ndarray:
        return before
