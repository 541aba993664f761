"""One attention call of the reweighting engine: its inputs, and what its rows see, a window of rows at a time."""
from dataclasses import dataclass

import torch
from torch import Tensor

from mm.attention.visibility import Visibility
from mm.tokens import TokenMap


@dataclass(frozen=True, eq=False)
class Call:
    """q: [B, H, Q, D]; k: [B, Hk, N, D]; v: [B, Hk, N, Dv]; mask: bool, broadcastable to [B, H, Q, N], or a `Visibility`. causal: bottom-right
    aligned, ANDed with a mask tensor. tokens: [B, T]; the keys are the last N of them. start: index of the first query in `tokens`.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | Visibility | None
    causal: bool
    scale: float | None
    tokens: TokenMap
    start: int

    @property
    def queries(self) -> int:
        return self.q.shape[2]

    @property
    def keys(self) -> int:
        return self.k.shape[2]

    @property
    def shared(self) -> int:
        """Query heads that share a key head."""
        return self.q.shape[1] // self.k.shape[1]

    @property
    def precision(self) -> torch.dtype:
        """Of masses and explicit scores."""
        return torch.float64 if self.q.dtype == torch.float64 else torch.float32

    @property
    def factor(self) -> float:
        return self.q.shape[-1] ** -0.5 if self.scale is None else self.scale

    @property
    def ahead(self) -> int | None:
        """Row i sees no key beyond i + ahead; None where the call is not causal by itself."""
        return self.keys - self.queries if self.causal and self.queries > 1 else None

    def reach(self, window: slice) -> int:
        """Keys from here on are later than the window's last row, where the call is causal."""
        return self.keys if self.ahead is None else window.stop + self.ahead

    def visible(self, window: slice, stop: int) -> Tensor | None:
        """bool [B or 1, 1 or H, q, stop], what a window of rows sees of the first `stop` keys; None for all of them."""
        seen = None
        if isinstance(self.mask, Tensor):
            mask = self.mask[(None,) * (4 - self.mask.dim())]
            seen = (mask if mask.shape[2] == 1 else mask[:, :, window])[..., :stop]
            seen = seen.expand(-1, -1, window.stop - window.start, stop)
        elif self.mask is not None:
            seen = self.mask.dense(window)[..., :stop]
        if self.ahead is None:
            return seen
        causal = torch.arange(stop, device=self.q.device) <= self.last(window)[:, None]
        return causal[None, None] if seen is None else seen & causal

    def last(self, window: slice) -> Tensor:
        """Last key that each row of a window sees, [q], in a causal call."""
        assert self.ahead is not None
        return torch.arange(window.start, window.stop, device=self.q.device) + self.ahead

    def pairs(self, window: slice, keys: Tensor) -> Tensor | None:
        """bool [B or 1, 1 or H, q or 1, n]: which of the keys [B, 1 or H, n] each row of a window sees; None for all of them."""
        seen = None
        if isinstance(self.mask, Visibility) and keys.shape[1] == 1:
            seen = torch.stack([self.mask.pairs(row, window, keys[row, 0]) for row in range(keys.shape[0])]).unsqueeze(1)
        elif self.mask is not None:
            seen = self.visible(window, self.keys)
            assert seen is not None
            heads = max(seen.shape[1], keys.shape[1])
            rows = seen.expand(keys.shape[0], heads, -1, -1)
            return rows.gather(-1, keys.unsqueeze(2).expand(-1, heads, rows.shape[2], -1))
        if self.ahead is None:
            return seen
        causal = keys.unsqueeze(2) <= self.last(window)[:, None]
        return causal if seen is None else seen & causal

    def sees(self, window: slice, keys: Tensor) -> bool:
        """Every row of a window surely sees all of the keys [B, 1 or H, n]."""
        return self.mask is None and (self.ahead is None or keys.shape[-1] == 0 or int(keys.max()) <= window.start + self.ahead)

    def within_reach(self, window: slice, keys: Tensor) -> int:
        """How many of the keys [B, 1 or H, n], ascending, come before the window's last row sees no more."""
        return keys.shape[-1] if self.ahead is None else int((keys < self.reach(window)).sum(-1).max())

    def seen(self, window: slice) -> Tensor:
        """How many keys each row of a window sees, [B or 1, 1 or H, q or 1]."""
        if self.mask is None:
            count = torch.tensor([self.keys], device=self.q.device) if self.ahead is None else self.last(window) + 1
            return count[None, None]
        seen = self.visible(window, self.keys)
        assert seen is not None
        return seen.sum(-1)
