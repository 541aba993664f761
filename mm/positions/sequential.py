"""One position after another: the plain decoder's positions."""
from torch import Tensor

from mm.positions.base import Positions
from mm.positions.restart import Restart
from mm.tokens import TokenMap


class Sequential(Positions):
    """Each packed document counts from 0, padding left out, branches one behind the other."""

    def assign(self, tokens: TokenMap) -> Tensor:
        """[B, N] map → long [B, N]."""
        return tokens.position

    def in_branches(self) -> Restart:
        return Restart()
