"""Prefix language model: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (T5), JMLR 2020; as in
Beyer et al., "PaliGemma: A versatile 3B VLM for transfer", 2024. What is only read, not written, can be read in both directions.
"""
from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import Role, TokenMap


class Prefix(Mask):
    """Causal, and everyone sees the whole prompt: images, system text and questions up to their own dialogue turn.

    A later turn's question stays hidden from earlier turns, as it was when they were answered. Images depend on the question: one image prefix must
    not be shared between questions, and a prompt must not be read in pieces.
    """

    chunkable = False
    shares_image_prefix = False

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        prompt = (k.role != Role.ANSWER) & (k.turn <= q.turn.clamp(min=0))  # what precedes all turns reads the first question too
        return (k.index <= q.index) | prompt
