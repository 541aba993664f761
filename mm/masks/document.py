"""Isolation of packed samples, as a rule of its own."""
from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import TokenMap


class Document(Mask):
    """A token sees its whole document, in both directions: an encoder over a packed row.

    Every mask isolates documents already; this rule is for bidirectional attention and, with `&`, changes nothing.
    """

    chunkable = False
    shares_image_prefix = False
    is_full = True

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        return k.document == q.document
