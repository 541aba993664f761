"""Where a token is: what rotary embeddings are told."""
from abc import ABC, abstractmethod

from torch import Tensor

from mm.tokens import TokenMap


class Positions(ABC):
    """A pure function from token maps to position ids.

    Only sequential counting reads the `position` of a map: it may already hold what another lever assigned.
    """

    @abstractmethod
    def assign(self, tokens: TokenMap) -> Tensor:
        """Position id of each token of a whole map, long [B, N]; 0 on padding."""

    def in_branches(self) -> "Positions | None":
        """Positions that put each branch where these would put it behind its trunk alone; None where there are none such."""
        return None

    def following(self, tokens: TokenMap, count: int = 1) -> Tensor:
        """Position ids of the next `count` decoded tokens, [B, count]."""
        return self.assign(tokens.extend(count))[:, -count:]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
