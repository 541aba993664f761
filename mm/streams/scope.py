"""What a visual token reads of its own medium: Yan et al., "CrossLMM: Decoupling Long Video Sequences from LMMs via Dual Cross-Attention", 2025."""
from abc import ABC, abstractmethod

import numpy as np

from mm.streams.sources import Sources


class Scope(ABC):
    """Visual tokens in groups that read the same features."""

    @abstractmethod
    def __call__(self, sources: Sources, medium: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """medium, frame: int64 [V] of each visual token. → the group of each, [V], and where each group's features begin and the last one's end in
        `sources.features`, [groups + 1]. ValueError for tokens that cannot be placed.
        """


class WholeMedium(Scope):
    """All frames of its medium: the formula's reading, whose cost grows with the square of the frames."""

    def __call__(self, sources: Sources, medium: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return medium, sources.bounds


class OwnFrame(Scope):
    """Its own frame. The paper does not say which of the two it means."""

    def __call__(self, sources: Sources, medium: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = np.array([len(pieces) for pieces in sources.pieces])
        if (strange := (frame < 0) | (frame >= frames[medium])).any():
            found = int(strange.argmax())
            raise ValueError(f"a visual token of medium {medium[found]} lies in frame {frame[found]}, and what the blocks read of it has "
                             f"{frames[medium[found]]} frame(s); use WholeMedium() with a projector or a reader that mixes frames")
        first = np.cumsum(frames) - frames
        return first[medium] + frame, np.cumsum([0, *(size for pieces in sources.pieces for size in pieces)])
