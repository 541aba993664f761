"""Samples compared."""
import numpy as np

from mm.sample import Sample


def same(a: Sample, b: Sample) -> bool:
    """Equal in everything, pixel by pixel."""
    return (a.id, a.turns, a.system) == (b.id, b.turns, b.system) and [m.kind for m in a.media] == [m.kind for m in b.media] and all(
        np.array_equal(m.frames, n.frames) for m, n in zip(a.media, b.media, strict=True))
