"""Concentric Causal Attention (CCA): Xing et al., "Mitigating Object Hallucination via Concentric Causal Attention", NeurIPS 2024.

What is earlier is where a token stands, not where it is stored.
"""
from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import TokenMap


class PositionCausal(Mask):
    """A token sees what its position is not before.

    Tokens that share a position see each other: with `mm.positions.Concentric` this is CCA's mask, with `ReverseRaster` that of its ablation, with
    `SinglePosition` an image block, with sequential positions the plain causal mask. Reads the positions that a model wrote into its map
    (`TokenMap.at`). All of these place an image before the text behind it, so one image prefix serves any question, and an image must be read in
    one piece.
    """

    chunkable = False

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        return k.position <= q.position
