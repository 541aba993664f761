"""Sink and window: Xiao et al., "Efficient Streaming Language Models with Attention Sinks" (StreamingLLM), ICLR 2024; its defaults are the deployment
of Xiao et al., "DuoAttention", ICLR 2025.
"""
from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import TokenMap


class SinkWindow(Mask):
    """Causal, less what lies between the first tokens of a document and the last ones before a token.

    Both are counted along the token's own path, so that padding, packing and branches change nothing.

    Args:
        sink: how many tokens at the beginning every token sees.
        window: how many of the latest tokens a token sees, itself included: window 1 is itself alone.
    """

    def __init__(self, sink: int = 64, window: int = 256) -> None:
        if sink < 0 or window < 1:
            raise ValueError(f"SinkWindow: sink is at least 0 and window at least 1, as the token itself counts; got sink={sink}, window={window}")
        self.sink = sink
        self.window = window

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        return (k.index <= q.index) & ((k.depth < self.sink) | (q.depth - k.depth < self.window))
