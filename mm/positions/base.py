"""Where a token is: what rotary embeddings are told."""
from abc import ABC, abstractmethod

from torch import Tensor

from mm.tokens import TokenMap


class Positions(ABC):
    """A pure function from token maps to position ids."""

    @abstractmethod
    def assign(self, tokens: TokenMap) -> Tensor:
        """Position id of each token, long [B, N]; 0 on padding."""

    def following(self, tokens: TokenMap, count: int = 1) -> Tensor:
        """Position ids of the next `count` decoded tokens, [B, count]."""
        return self.assign(tokens.extend(count))[:, -count:]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
