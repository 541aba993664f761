"""Who sees whom: a mask is a pure rule over two token maps; isolation of samples and padding is not left to the rule.

Three things hold for every mask, whatever it allows and however it was composed, because `Causal() | Bidirectional-something` on a packed row would
otherwise leak through the second operand: no token sees another document; a token sees the trunk of its document and its own branch only; padding is
seen by nobody but itself.
"""
import inspect
from abc import ABC, abstractmethod

from torch import Tensor

from mm.tokens import TokenMap


class BlindTokenError(ValueError):
    """A mask hides a real token from itself."""


class Mask(ABC):
    """A rule `allow`, combined with `&` and `|`.

    Attributes that a rule states about itself:
        chunkable: no token needs a later one, so that a prompt may be read in pieces and a cache prefix kept.
        shares_image_prefix: what the image tokens become does not depend on the question, so that questions may share one image prefix.
        is_causal: within one document and branch the rule is exactly "not later"; such rows run on the kernel's causal flag.
        is_full: the rule adds nothing to isolation.
    """

    chunkable: bool = True
    shares_image_prefix: bool = True
    is_causal: bool = False
    is_full: bool = False

    @abstractmethod
    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """May query q read key k? Views [B, Q, 1] and [B, 1, N] (or any that broadcast) → bool. Isolation and padding are added elsewhere."""

    def visible(self, q: TokenMap, k: TokenMap) -> Tensor:
        """The rule within isolation; a padding row sees itself, so that no row is empty."""
        return (self.allow(q, k) & isolated(q, k)) | ((q.index == k.index) & ~q.is_real)

    def dense(self, tokens: TokenMap, queries: slice = slice(None), keys: slice = slice(None), window: int | None = None) -> Tensor:
        """bool [B, 1, Q, N], True where a query sees a key.

        queries, keys: parts of the map's tokens, for decoding. window: a sliding layer's; counted along the token's own path (trunk, then branch),
        so that a branch sees what it would see alone. BlindTokenError names the first real token that does not see itself.
        """
        self.check(tokens)
        q, k = tokens[:, queries].queries(), tokens[:, keys].keys()
        visible = self.visible(q, k)
        if window is not None:
            visible &= (q.depth - k.depth < window) | ~q.is_real
        return visible.expand(*tokens.shape[:1], q.shape[1], k.shape[2]).unsqueeze(1)

    def check(self, tokens: TokenMap) -> None:
        """BlindTokenError if a real token does not see itself: softmax over nothing is no attention."""
        seen = self.visible(tokens, tokens).expand(tokens.shape)  # queries and keys paired one to one: the diagonal
        if not bool(seen.all()):
            row, index = (~seen).nonzero()[0].tolist()
            raise BlindTokenError(f"{self!r} hides token {index} of row {row} from itself; a mask must let every real token see at least itself: "
                                  "combine it with `|`, e.g. Causal() | ...")

    def __and__(self, other: "Mask") -> "Mask":
        return Both(self, other)

    def __or__(self, other: "Mask") -> "Mask":
        return Either(self, other)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={getattr(self, name)!r}" for name in inspect.signature(type(self)).parameters)
        return f"{type(self).__name__}({arguments})"


def isolated(q: TokenMap, k: TokenMap) -> Tensor:
    """The key is real, in the query's document, and there on the trunk or in the query's own branch. Padding is in no document, so q is real too."""
    return (q.document == k.document) & k.is_real & ((k.branch == 0) | (k.branch == q.branch))


class Both(Mask):
    """What both masks allow."""

    def __init__(self, first: Mask, second: Mask) -> None:
        self.first = first
        self.second = second
        self.chunkable = first.chunkable or second.chunkable  # where one looks back only, so does their meet
        self.shares_image_prefix = first.shares_image_prefix or second.shares_image_prefix
        self.is_full = first.is_full and second.is_full
        self.is_causal = (first.is_causal and (second.is_causal or second.is_full)) or (first.is_full and second.is_causal)

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return self.first.allow(q, k) & self.second.allow(q, k)

    def __repr__(self) -> str:
        return f"({self.first!r} & {self.second!r})"


class Either(Mask):
    """What at least one of two masks allows."""

    def __init__(self, first: Mask, second: Mask) -> None:
        self.first = first
        self.second = second
        self.chunkable = first.chunkable and second.chunkable
        self.shares_image_prefix = first.shares_image_prefix and second.shares_image_prefix
        self.is_full = first.is_full or second.is_full
        self.is_causal = first.is_causal and second.is_causal

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return self.first.allow(q, k) | self.second.allow(q, k)

    def __repr__(self) -> str:
        return f"({self.first!r} | {self.second!r})"
