"""What a kernel must offer to `attend`: one class a kernel, and a reason wherever it does not apply."""
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from mm.attention.part import AttentionPart
from mm.attention.visibility import Visibility


@dataclass(frozen=True, eq=False)
class Query:
    """One call of `attend`, checked: what a backend is asked to compute.

    q: [B, H, Q, D]; k: [B, Hk, N, D]; v: [B, Hk, N, Dv]; mask: bool, broadcastable to [B, H, Q, N], True where a row sees a key, or a rule
    that says so. causal: bottom-right aligned, so the last query sees the last key; ANDed with a tensor, never set beside a rule. bias: added to the
    scores, broadcastable to [B, H, Q, N]; never set beside a rule or causality.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | Visibility | None
    causal: bool
    scale: float | None
    dropout: float
    bias: Tensor | None = None

    @property
    def groups(self) -> int:
        """Query heads that share a key head."""
        return self.q.shape[1] // self.k.shape[1]

    def dense_mask(self) -> Tensor | None:
        """Mask and causality as one bool tensor, None where each query sees each key."""
        if isinstance(self.mask, Visibility):
            return self.mask.dense()
        rows, columns = self.q.shape[2], self.k.shape[2]
        if not self.causal or rows <= 1:  # a single query at the end sees all that came before
            return self.mask
        causal = torch.ones(rows, columns, dtype=torch.bool, device=self.q.device).tril(columns - rows)
        return causal if self.mask is None else causal & self.mask

    def kernel_mask(self) -> Tensor | None:
        """What the fused kernels take: the bool mask, or, where there is a bias, the bias with -inf where a row does not see a key."""
        seen = self.dense_mask()
        if self.bias is None:
            return seen
        bias = self.bias.to(self.q.dtype)
        return bias if seen is None else bias.masked_fill(~seen, -torch.inf)


class Backend(ABC):
    """A way to compute attention. Stateless: two instances of a class are interchangeable."""

    def refuses(self, query: Query, need_lse: bool) -> str | None:
        """Why this backend cannot compute `query` exactly; None if it can."""
        return None

    @abstractmethod
    def __call__(self, query: Query, need_lse: bool) -> AttentionPart:
        """Attention of `query`; `lse` is None unless asked for."""


def repeat_heads(keys: Tensor, times: int) -> Tensor:
    """Each key head `times` times in order, [B, Hk * times, N, D]; a view's copy only where it must be."""
    if times == 1:
        return keys
    batch, heads, length, width = keys.shape
    return keys[:, :, None].expand(batch, heads, times, length, width).reshape(batch, heads * times, length, width)
