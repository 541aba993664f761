"""Bidirectional images in a causal decoder: Gemma Team, "Gemma 3 Technical Report", 2025. A raster order is no reason for the upper left corner of a
picture not to know the lower right one.
"""
from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import TokenMap


class ImageBlock(Mask):
    """Causal, and the tokens of one image (of one frame of a clip) see each other.

    Images stay blind to what follows them, so one image prefix serves any question; but an image must be read in one piece.
    """

    chunkable = False

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        same_image = q.is_vision & k.is_vision & (q.media == k.media) & (q.frame == k.frame)
        return (k.index <= q.index) | same_image
