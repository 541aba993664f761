"""Some keys of a call, picked out by where they stand."""
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Keys:
    """Keys of each row of the batch (and of each head, where groups differ between heads), ascending.

    index: long [B, 1 or H, n]. real: bool of that shape, False for keys that are only there because lists must be equally long, or because a run with
    holes is a view where a list would be a copy; None if all are meant. run: where they are the same run for all. ids: the cell of each.
    """

    index: Tensor
    real: Tensor | None
    run: slice | None
    ids: Tensor

    @classmethod
    def where(cls, member: Tensor, ids: Tensor) -> "Keys":
        """The keys that are True in `member`, bool [B, 1 or H, N], not all of them False; ids: [B, 1 or H, N]."""
        counts = member.sum(-1, keepdim=True)
        most = int(counts.max())
        key = member.nonzero()[:, -1]  # list after list
        first, stop = int(key.min()), int(key.max()) + 1
        if stop - first <= 2 * most:
            run = slice(first, stop)
            index = torch.arange(first, stop, device=key.device).expand(*member.shape[:2], -1)
            real = member[..., run]
        else:
            run = None
            real = torch.arange(most, device=key.device) < counts
            index = torch.zeros_like(real, dtype=torch.long).masked_scatter(real, key)
        return cls(index, None if bool(real.all()) else real, run, ids.gather(-1, index))

    def __len__(self) -> int:
        return self.index.shape[-1]

    def first(self, count: int) -> "Keys":
        run = None if self.run is None else slice(self.run.start, self.run.start + count)
        return Keys(self.index[..., :count], None if self.real is None else self.real[..., :count], run, self.ids[..., :count])

    def of(self, x: Tensor, shared: int) -> Tensor:
        """Their rows of x [B, Hk, N, D], [B, Hk or H, n, D]. shared: heads that share a key head."""
        if self.run is not None:
            return x[:, :, self.run]
        batch, heads, _ = self.index.shape
        if batch == heads == 1:
            return x.index_select(2, self.index[0, 0])
        row = torch.arange(batch, device=x.device)[:, None, None]
        head = torch.arange(x.shape[1], device=x.device)[:, None]
        return x[row, head if heads == 1 else head.repeat_interleave(shared, 0), self.index]

    def seen(self, pairs: Tensor | None) -> Tensor | None:
        """bool [B or 1, 1 or H, q or 1, n]: which of them a row sees; None for all. pairs: what the call says of them."""
        if self.real is None:
            return pairs
        return self.real.unsqueeze(2) if pairs is None else self.real.unsqueeze(2) & pairs
