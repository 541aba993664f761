"""Prefix Grouper: Liu et al., "Prefix Grouper: Efficient GRPO Training through Shared-Prefix Forward", 2025. Several continuations share one
row with one copy of their prefix; outputs and gradients equal those of the repeated prefix, at the cost of one.
"""
from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import TokenMap


class PrefixTree(Mask):
    """Causal along each path: a branch sees the trunk of its document and itself, the trunk sees itself.

    Every mask isolates branches already, so `Causal()` on a row with branches is this rule; it is for stating it. `PrefixTree() | ImageBlock()` reads
    the trunk's images in both directions. Needs positions that restart behind the trunk (`mm.positions.Restart`).
    """

    is_causal = True

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        return (k.index <= q.index) & ((k.branch == 0) | (k.branch == q.branch))
