"""Pooling by queries without maps of their own: Psomas et al., "Attention, Please! Revisiting Attentive Probing Through the Lens of Efficiency",
ICLR 2026.
"""
import torch
from torch import Tensor, nn

from mm.attention import attend
from mm.streams.base import FrameProjector, Grid


class EfficientProbing(FrameProjector):
    """`queries` learned queries each pool the features of a frame, and one linear map makes them tokens.

    a_m = softmax(q_m x / sqrt(in_width)); token_m = W (a_m x). The features are their own keys, so a query costs in_width parameters.

    The probe of the paper is one vector: its m-th slice is that slice of our token m. Whole tokens are our choice, as a decoder reads tokens of its
    own width. They have no place in the picture, and their order means nothing.

    Args:
        queries: tokens a frame; drawn from 0.02 N(0, 1).
        bias: of the map; the paper's probe has none.
    """

    def __init__(self, in_width: int, out_width: int, queries: int = 32, bias: bool = False) -> None:
        super().__init__(in_width, out_width)
        if queries < 1:
            raise ValueError(f"EfficientProbing: queries counts tokens a frame, so it is at least 1; got {queries}")
        self.queries, self.bias = queries, bias
        self.query = nn.Parameter(torch.randn(queries, in_width) * 0.02)
        self.map = nn.Linear(in_width, out_width, bias)

    def out_grid(self, grid: Grid) -> None:
        return None

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        return frames * self.queries

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        features = x.unsqueeze(1)
        q = self.query.to(x.dtype).expand(len(x), 1, -1, -1)
        return self.map(attend(q, features, features).out.squeeze(1))
