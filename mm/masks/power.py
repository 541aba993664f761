"""Power attention: Chen et al., "PowerAttention: Exponentially Scaling of Receptive Fields for Effective Sparse Attention", 2025.

After d layers every distance below 2^d blocks has been crossed, at log N blocks a row. The idea is the paper's; details are our reconstruction.
"""
from functools import reduce
from operator import or_

from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import TokenMap

EXPONENTS = range(20)  # a million blocks


class Power(Mask):
    """Sinks and a window as in `SinkWindow`, and blocks of keys whose distance from the query's block is a power of two.

    All is counted along the token's own path. Models are trained with the pattern; one that was not will not read through it.

    Args:
        window: how many of the latest tokens a token sees, itself included. At least a block, or parts of a token's own block would never be reached.
        sink: how many tokens at the beginning every token sees.
        block: tokens in a block, whose distances the powers are.
    """

    def __init__(self, window: int = 256, sink: int = 64, block: int = 64) -> None:
        if block < 1 or window < block or sink < 0:
            raise ValueError(f"Power: block is at least 1, window at least a block, sink at least 0; got window={window}, sink={sink}, block={block}")
        self.window = window
        self.sink = sink
        self.block = block

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        blocks = q.depth // self.block - k.depth // self.block
        far = reduce(or_, (blocks == 2**exponent for exponent in EXPONENTS))
        return (k.index <= q.index) & ((k.depth < self.sink) | (q.depth - k.depth < self.window) | far)
