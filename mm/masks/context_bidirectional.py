"""Bidirectional context: Huang et al., "Masking in Multi-hop QA: An Analysis of How Language Models Perform with Context Permutation", ACL 2025.
Which document comes first should not decide whether two of them can be joined.
"""
from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import TokenMap


class ContextBidirectional(Mask):
    """Causal, and all that stands before the first answer token sees itself in both directions: documents, images, system text, the question.

    A prompt of one turn is thus prefilled with an all-ones mask. Later questions are causal: they have read an answer, which must not see them (the
    original takes every unlabelled token of a training row for context, which is the same for one turn and would leak for more). A model must be
    tuned with this mask to be read with it. Images depend on the question, and a prompt must be read in one piece.
    """

    chunkable = False
    shares_image_prefix = False

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        return (k.index <= q.index) | (k.answered == 0)
