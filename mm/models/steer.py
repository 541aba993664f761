"""Levers for a while: swap a model's mask or positions within a `with` block."""
from collections.abc import Iterator
from contextlib import contextmanager

from mm.masks import Mask
from mm.models.vlm import VLM
from mm.positions import Positions


@contextmanager
def steer(vlm: VLM, mask: Mask | None = None, positions: Positions | None = None) -> Iterator[VLM]:
    """`vlm` with other levers inside the block, and exactly as before after it, also after an error. None leaves a lever as it is."""
    before = vlm.mask, vlm.positions
    vlm.mask, vlm.positions = mask or vlm.mask, positions or vlm.positions
    try:
        yield vlm
    finally:
        vlm.mask, vlm.positions = before
