"""EE-MLLM's composite attention: Ma et al., "EE-MLLM: A Data-Efficient and Compute-Efficient Multimodal Large Language Model", 2024. Reconstruction
from the abstract: no code is public.
"""
from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import TokenMap


class Composite(Mask):
    """Causal for text, and an image token sees itself alone.

    What an image becomes then depends on no other token, so it can be computed once and read by any question. Softmax over the single key "self" is
    its value projected: the variant of the reconstruction in which image tokens keep their value, output and feed-forward maps. As a mask it is exact
    and saves nothing by itself.
    """

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        return (k.index <= q.index) & (~q.is_vision | (k.index == q.index))
