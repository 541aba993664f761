"""Queries that see a clip up to their own time: Fei et al., "Video-CCAM: Enhancing Video-Language Understanding with Causal Cross-Attention Masks for
Short and Long Videos", 2024.

The projector's source is not public. That there is one cross-attention with biases, and how wide everything is, is inferred from the size of the
published weights (v1.0, 28.0 million parameters in float32) and from the published configuration (v1.2). Where norms and residual sums stand is our
choice.
"""
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm.streams.attention import CrossAttention
from mm.streams.base import ClipProjector, Grid
from mm.streams.clip_time import ClipTime
from mm.streams.frame_mask import CausalCeil, FrameMask, LastSeen
from mm.streams.lengths import by_length
from mm.streams.prefixes import prefix_attention


class CausalCrossAttention(ClipProjector):
    """a = q + Drop(Attn(LN q, LN x)), token = FFN(LN a): as many tokens as queries, whatever the number of frames; an image is a clip of one.

    Args:
        queries: learned, of `width`, by default in_width as in v1.0; v1.2 has 1024.
        ffn: "mlp", v1.0: Linear, GELU, Linear. "gated", v1.2: down(SiLU(gate) * up). No residual sum around either.
        intermediate: inner width of the FFN; by default out_width for "mlp" and four times `width` for "gated", as published.
        mask: which frames each query sees.
        time: what is added to a frame's normalised features; nothing by default, so that order enters through the mask alone.
        dropout: of the attention's output; attention_dropout: of its weights. v1.2 is published with 0.1 for both.

    Norms have no gain and shift of their own: a linear map with a bias follows each, which can hold them, and the published count leaves them no room
    that could be seen.
    """

    def __init__(self, in_width: int, out_width: int, queries: int = 1024, width: int | None = None, heads: int = 16, key_heads: int | None = None,
                 ffn: Literal["mlp", "gated"] = "mlp", intermediate: int | None = None, mask: FrameMask | None = None, time: ClipTime | None = None,
                 dropout: float = 0.0, attention_dropout: float = 0.0) -> None:
        super().__init__(in_width, out_width)
        if queries < 1:
            raise ValueError(f"CausalCrossAttention: at least 1 query is needed; got {queries}")
        if ffn not in ("mlp", "gated"):
            raise ValueError(f"CausalCrossAttention: ffn is mlp or gated; got {ffn!r}")
        if (width or in_width) % heads:
            raise ValueError(f"CausalCrossAttention: a width of {width or in_width} does not divide into {heads} heads; give another width or heads")
        self.queries, self.width, self.heads, self.key_heads, self.ffn, self.intermediate = queries, width, heads, key_heads, ffn, intermediate
        self.mask, self.time, self.dropout, self.attention_dropout = mask or CausalCeil(), time, dropout, attention_dropout
        width = width or in_width
        self.query = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.attention = CrossAttention(width, in_width, heads, key_heads, bias=True, out_bias=True)
        self.head = MLPHead(width, intermediate or out_width, out_width) if ffn == "mlp" else GatedHead(width, intermediate or 4 * width, out_width)

    def out_grid(self, grid: Grid) -> None:
        return None

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        return self.queries

    def places(self, grid: Grid) -> LastSeen:
        return LastSeen(self.mask, self.queries)

    def forward(self, x: Tensor, grid: Grid, frames: Sequence[int]) -> Tensor:
        return by_length(x, frames, lambda clips, _: self.read(clips))

    def read(self, clips: Tensor) -> Tensor:
        """[m, T, N, C] → [m, queries, out_width]."""
        q, k, v = self.qkv(clips)
        first = self.mask.first(self.queries, clips.shape[1]).tolist()
        seen = prefix_attention(q, k, v, first, self.attention_dropout if self.training else 0.0)
        a = self.query + F.dropout(self.attention.out(seen.transpose(1, 2).flatten(2)), self.dropout, self.training)
        return self.head(normalised(a))

    def qkv(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Clips [m, T, N, C] → queries [m, H, Q, D], and keys and values [m, Hk, T N, D], one frame after another."""
        source = normalised(clips)
        if self.time is not None:
            source = source + self.time(clips.shape[1], self.in_width, source)[:, None]
        q = self.attention.split(self.attention.query(normalised(self.query)[None]), self.heads)
        return q.expand(len(clips), -1, -1, -1), *self.attention.keys(source.flatten(1, 2))


class MLPHead(nn.Sequential):
    """Linear, GELU, Linear."""

    def __init__(self, width: int, intermediate: int, out_width: int) -> None:
        super().__init__(nn.Linear(width, intermediate), nn.GELU(), nn.Linear(intermediate, out_width))


class GatedHead(nn.Module):
    """Shazeer, "GLU Variants Improve Transformer", 2020: SwiGLU, with biases."""

    def __init__(self, width: int, intermediate: int, out_width: int) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(width, intermediate), nn.Linear(width, intermediate), nn.Linear(intermediate, out_width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


def normalised(x: Tensor) -> Tensor:
    """Layer norm without gain and shift; eps as published for v1.2."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-5)
