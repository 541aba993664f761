"""Which frames of a clip each learned query sees: Fei et al., "Video-CCAM: Enhancing Video-Language Understanding with Causal Cross-Attention Masks
for Short and Long Videos", 2024.

Early queries see early frames only, later ones all frames up to their own time. That much is in the paper's prose; its rounding is not public, so
both roundings stand here and the default, `CausalCeil`, is our choice.
"""
from abc import ABC, abstractmethod

import numpy as np


class FrameMask(ABC):
    """Query i of Q sees frames 0 to last(Q, T)[i] of T, whole."""

    @abstractmethod
    def last(self, queries: int, frames: int) -> np.ndarray:
        """The last frame that each query sees: int64 [queries], from 0 to frames - 1, never descending."""

    def first(self, queries: int, frames: int) -> np.ndarray:
        """The first query that sees each frame, `queries` where none does: int64 [frames]. ValueError for a `last` that is not as promised."""
        last = self.last(queries, frames)
        if last.shape != (queries,) or last.min() < 0 or last.max() >= frames or (np.diff(last) < 0).any():
            raise ValueError(f"{type(self).__name__}.last({queries}, {frames}) must be {queries} ascending frames from 0 to {frames - 1}; got {last}")
        return np.searchsorted(last, np.arange(frames))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class CausalCeil(FrameMask):
    """f <= ceil((i + 1) T / Q) - 1, in integers. Whatever T and Q are, each query sees a frame and the last query sees them all."""

    def last(self, queries: int, frames: int) -> np.ndarray:
        return -(-np.arange(1, queries + 1) * frames // queries) - 1


class CausalFloor(FrameMask):
    """f <= floor(i T / Q). The same as `CausalCeil` where T divides Q; with more frames than queries no query sees the last ones."""

    def last(self, queries: int, frames: int) -> np.ndarray:
        return np.arange(queries) * frames // queries


class Full(FrameMask):
    """Every query sees every frame: plain cross-attention, which cannot tell one order of the frames from another."""

    def last(self, queries: int, frames: int) -> np.ndarray:
        return np.full(queries, frames - 1)


class LastSeen:
    """Places of learned queries: a query's frame is the last one that it sees, and it has no row or column."""

    def __init__(self, mask: FrameMask, queries: int) -> None:
        self.mask, self.queries = mask, queries

    def __call__(self, frames: int) -> np.ndarray:
        nowhere = np.full(self.queries, -1)
        return np.stack([self.mask.last(self.queries, frames), nowhere, nowhere])
