"""The plain decoder's mask."""
from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import TokenMap


class Causal(Mask):
    """A token sees itself and what stands before it."""

    is_causal = True

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        return k.index <= q.index
