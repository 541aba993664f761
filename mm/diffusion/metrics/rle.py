"""Masks as PIE-Bench writes them: runs of pixels, row by row (Ju et al., "PnP Inversion", ICLR 2024)."""
from collections.abc import Sequence

import numpy as np


def runs_to_mask(runs: Sequence[int], height: int = 512, width: int = 512, border: bool = True) -> np.ndarray:
    """bool [height, width] of a flat list start, length, start, length ...

    border: also true on the outermost pixels, as the evaluator sets them; an empty list is then a frame. A run that leaves the picture is cut, as in
    the evaluator. ValueError for an odd number of values or negative ones.
    """
    values = np.asarray(runs, dtype=np.int64).reshape(-1)
    if len(values) % 2:
        raise ValueError(f"a mask is a list of starts and lengths, so of an even number of values; got {len(values)}")
    if (values < 0).any():
        raise ValueError(f"starts and lengths of a mask are 0 or more; got {values.min()}")
    flat = np.zeros(height * width, dtype=bool)
    for start, length in values.reshape(-1, 2):
        flat[start:start + length] = True
    mask = flat.reshape(height, width)
    if border:
        mask[[0, -1]] = mask[:, [0, -1]] = True
    return mask
