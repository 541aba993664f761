"""Keys that many rows share: Juravsky et al., "Hydragen: High-Throughput LLM Inference with Shared Prefixes", 2024.

The queries of all rows behind one trunk attend to its keys together, as one product that reads them once; each row attends to its own keys, and the
two parts merge exactly.
"""
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from mm.attention.kernels import attend
from mm.attention.part import AttentionPart, merge

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Trunk:
    """layers: keys and values [P, Hk, T, D] of each layer, of P trunks. real: bool [P, T], False for padding. owner: long [B], each row's trunk."""

    layers: tuple[Pair, ...]
    real: Tensor
    owner: Tensor

    @cached_property
    def seen(self) -> Tensor | None:
        """Mask of the trunks' keys, bool [P, 1, 1, T]; None where all are real."""
        return None if bool(self.real.all()) else self.real[:, None, None]

    @cached_property
    def _sorted(self) -> tuple[Tensor, Tensor, Tensor]:
        """The rows trunk by trunk; where each trunk's begin there, and how many they are."""
        counts = torch.bincount(self.owner, minlength=len(self.real))
        return self.owner.argsort(stable=True), counts.cumsum(0) - counts, counts

    @cached_property
    def table(self) -> Tensor:
        """Rows of each trunk, long [P, R], filled up with its first one."""
        order, first, counts = self._sorted
        place = torch.arange(int(counts.max()), device=order.device)
        return order[first[:, None] + torch.where(place < counts[:, None], place, 0)]

    @cached_property
    def home(self) -> Tensor:
        """Where each row stands in the flattened table, long [B]."""
        order, first, _ = self._sorted
        rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return self.owner * self.table.shape[1] + rank - first[self.owner]

    def selected(self, rows: Tensor) -> "Trunk":
        """Of these rows, and of the trunks that they have."""
        owner = self.owner[rows]
        used, owner = owner.unique(return_inverse=True)
        if len(used) == len(self.real):
            return replace(self, owner=owner)
        return Trunk(tuple((keys[used], values[used]) for keys, values in self.layers), self.real[used], owner)

    def joined(self, layer: int, q: Tensor, own: AttentionPart, scale: float | None) -> Tensor:
        """Attention [B, H, Q, Dv] of queries [B, H, Q, D] over their trunk's keys and their own; `own`: what they have of the latter."""
        keys, values = self.layers[layer]
        (trunks, rows), (_, heads, queries, width) = self.table.shape, q.shape
        together = q[self.table].transpose(1, 2).reshape(trunks, heads, rows * queries, width)
        part = attend(together, keys, values, self.seen, scale=scale, need_lse=True)
        assert part.lse is not None
        out = part.out.view(trunks, heads, rows, queries, -1).transpose(1, 2).flatten(0, 1)[self.home]
        lse = part.lse.view(trunks, heads, rows, queries).transpose(1, 2).flatten(0, 1)[self.home]
        return merge([own, AttentionPart(out, lse)]).out
