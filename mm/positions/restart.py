"""Positions along a path: Liu et al., "Prefix Grouper: Efficient GRPO Training through Shared-Prefix Forward", 2025."""
from torch import Tensor

from mm.positions.base import Positions
from mm.tokens import TokenMap


class Restart(Positions):
    """Each branch goes on counting where its trunk ended, as if it stood alone behind it. Without branches the same as `Sequential`."""

    def assign(self, tokens: TokenMap) -> Tensor:
        """[B, N] map → long [B, N]."""
        return tokens.depth

    def in_branches(self) -> "Restart":
        return self
