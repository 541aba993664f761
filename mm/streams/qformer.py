"""The Q-Former: Li et al., "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models", ICML 2023."""
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm.streams.attention import CrossAttention
from mm.streams.base import FrameByFrame, FrameProjector, Grid

EPS = 1e-12  # BERT's

# Names in transformers' Blip2QFormerModel, and here.
NAMES = (
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.", "layers."),
    (r"\.crossattention\.attention\.", ".cross."),
    (r"\.crossattention\.output\.dense\.", ".cross.out."),
    (r"\.crossattention\.output\.LayerNorm\.", ".norm_cross."),
    (r"\.attention\.attention\.", ".attention."),
    (r"\.attention\.output\.dense\.", ".attention.out."),
    (r"\.attention\.output\.LayerNorm\.", ".norm_attention."),
    (r"\.intermediate_query\.dense\.", ".up."),
    (r"\.output_query\.dense\.", ".down."),
    (r"\.output_query\.LayerNorm\.", ".norm_ffn."),
)


class QueryLayer(nn.Module):
    """Self-attention of the queries, cross-attention to the picture where the layer has one, FFN; a norm behind each residual sum (post-LN)."""

    def __init__(self, width: int, source_width: int | None, heads: int, intermediate: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention, self.norm_attention = CrossAttention(width, width, heads, bias=True, out_bias=True), nn.LayerNorm(width, EPS)
        self.cross = None if source_width is None else CrossAttention(width, source_width, heads, bias=True, out_bias=True)
        self.norm_cross = None if source_width is None else nn.LayerNorm(width, EPS)
        self.up, self.down, self.norm_ffn = nn.Linear(width, intermediate), nn.Linear(intermediate, width), nn.LayerNorm(width, EPS)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        rate = self.dropout if self.training else 0.0
        x = self.norm_attention(x + F.dropout(self.attention(x, x, dropout=rate), rate))
        if self.cross is not None and self.norm_cross is not None:
            x = self.norm_cross(x + F.dropout(self.cross(x, source, mask, rate), rate))
        return self.norm_ffn(x + F.dropout(self.down(F.gelu(self.up(x))), rate))


class QueryTransformer(nn.Module):
    """Blip2QFormerModel over queries alone: [B, Q, width] that read [B, N, source_width] in every `every`-th layer, from the first on."""

    def __init__(self, width: int, source_width: int, depth: int, heads: int, intermediate: int, every: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm = nn.LayerNorm(width, EPS)
        self.layers = nn.ModuleList(QueryLayer(width, None if layer % every else source_width, heads, intermediate, dropout)
                                    for layer in range(depth))

    def forward(self, queries: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask: bool, broadcastable to [B, heads, Q, N], True where a query sees a feature."""
        x = F.dropout(self.norm(queries), self.dropout, self.training)
        for layer in self.layers:
            x = layer(x, source, mask)
        return x


class QFormer(FrameProjector):
    """`queries` learned tokens a frame, through a BERT-like transformer that reads the frame's features, and one linear map; BLIP-2's sizes.

    Args:
        width, depth, heads, intermediate: of BERT-base. every: one layer in so many reads the picture.
        dropout: of the embedded queries, of attention weights, and before each residual sum.
    """

    def __init__(self, in_width: int, out_width: int, queries: int = 32, width: int = 768, depth: int = 12, heads: int = 12,
                 intermediate: int = 3072, every: int = 2, dropout: float = 0.1) -> None:
        super().__init__(in_width, out_width)
        if queries < 1 or every < 1:
            raise ValueError(f"QFormer: queries and every are at least 1; got queries={queries}, every={every}")
        self.queries, self.width, self.depth, self.heads = queries, width, depth, heads
        self.intermediate, self.every, self.dropout = intermediate, every, dropout
        self.query = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.body = QueryTransformer(width, in_width, depth, heads, intermediate, every, dropout)
        self.out = nn.Linear(width, out_width)
        for module in self.body.modules():
            if isinstance(module, nn.Linear):  # as BERT starts
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def out_grid(self, grid: Grid) -> None:
        return None

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        return frames * self.queries

    def places(self, grid: Grid) -> FrameByFrame:
        return FrameByFrame(self.queries, None)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        return self.out(self.body(self.query.expand(len(x), -1, -1), x))


def from_blip2(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of transformers' Blip2ForConditionalGeneration under the names of `QFormer`; those of its other parts are left out.

    `query_tokens` becomes query, `qformer.*` body.* as `NAMES` says, `language_projection.*` out.*.
    """
    found = {}
    for name, value in weights.items():
        name = name.removeprefix("model.")
        if name == "query_tokens":
            found["query"] = value.squeeze(0)
        elif name.startswith("language_projection."):
            found[f"out.{name.removeprefix('language_projection.')}"] = value
        elif name.startswith("qformer."):
            inner = name.removeprefix("qformer.")
            for pattern, ours in NAMES:
                inner = re.sub(pattern, ours, inner)
            found[f"body.{inner}"] = value
    return found
