"""Attention weights of a few rows as the model uses them: after the rules that act, averaged over heads."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mm.analysis.masses import group_masses
from mm.attention import Active, Call, Recorder, Visibility
from mm.tokens import TokenMap


@dataclass(frozen=True)
class EachKey:
    """Every key is a group of its own, so that the mass of a group is the weight of a key. group_count: the number of keys."""

    group_count: int
    needs: frozenset[Literal["hidden", "columns"]] = frozenset()
    decoded_group: int = 0

    def watched_groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        return torch.arange(self.group_count, device=tokens.kind.device).expand(tokens.shape)


@dataclass(eq=False)
class HeadMean(Recorder):
    """A recorder that keeps the mean over heads, [B, R, N] a layer: H times less to hold while the model runs."""

    steps: list[dict[int, Tensor]] = field(default_factory=list)

    @torch.no_grad()
    def watch(self, layer: int, call: Call, active: Sequence[Active], groups: Tensor | None) -> None:
        """Where a rule acts, the weights that it leaves; they take N x N numbers for a while, so this is for looking at a few samples."""
        if not any(one.acts for one in active):
            super().watch(layer, call, active, groups)
        elif self.begins(layer):
            each = EachKey(call.tokens.shape[1])
            with torch.autocast(call.q.device.type, enabled=False):
                _, after = group_masses(call, active, each, each.watched_groups(call.tokens, layer), self.rows_of(call.q, call.k))
            self.steps[-1][layer] = after.float().cpu().mean(1)

    def record(self, layer: int, q: Tensor, k: Tensor, mask: Tensor | Visibility | None, causal: bool, scale: float | None) -> None:
        super().record(layer, q, k, mask, causal, scale)
        kept = self.steps[-1]
        if layer in kept:
            kept[layer] = kept[layer].mean(1)
