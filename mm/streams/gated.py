"""Gated cross-attention: Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022, as OpenFlamingo has it."""
import torch
from torch import Tensor, nn

from mm.streams.attention import CrossAttention
from mm.streams.base import Projector
from mm.streams.crossing import Crossing
from mm.streams.seen import Immediate, Seen
from mm.streams.stream import Block, Branch, Placement, Plan, Shape, Stream, added


class GatedCrossAttention(Stream):
    """x ← x + tanh(α) · Attn(LN x, media), then x ← x + tanh(β) · FF(x), with α = β = 0 at the start; FF is LN, a linear map, GELU, a linear map.

    All tokens read, the media's own among them; one before any medium reads nothing (the original forgets this where all media are seen, and lets
    such a token average over later ones). FF acts on every token, also in rows without media. Media are not normalised here.

    Args:
        every, placement: before every 4th layer, as OpenFlamingo's larger models have it.
        heads, head_width, growth: of the attention, and of the FF's inner width over the model's.
        seen: of the media before a token, by default `Immediate()`.
        reader: what makes few tokens of a medium's features, Flamingo's is a Perceiver resampler. With `mm.streams.Marker` as projector the rows
            themselves hold one token a medium.
    """

    def __init__(self, every: int = 4, placement: Placement = "before_layer", heads: int = 8, head_width: int = 64, growth: int = 4,
                 seen: Seen | None = None, reader: Projector | None = None) -> None:
        super().__init__(every, placement, reader)
        self.heads, self.head_width, self.growth, self.seen = heads, head_width, growth, seen or Immediate()

    def block(self, shape: Shape, source_width: int) -> "GatedBlock":
        return GatedBlock(shape.width, source_width, self.heads, self.head_width, self.growth)

    def plan(self, crossing: Crossing) -> Plan:
        return {"read": crossing.of_media(crossing.read.is_text | crossing.read.is_vision, self.seen)}


class GatedBlock(Block):
    def __init__(self, width: int, source_width: int, heads: int, head_width: int, growth: int) -> None:
        super().__init__()
        self.read = Branch(nn.LayerNorm(width), CrossAttention(width, source_width, heads, head_width=head_width))
        self.feed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, growth * width, bias=False), nn.GELU(),
                                  nn.Linear(growth * width, width, bias=False))
        self.feed_gate = nn.Parameter(torch.zeros(()))

    def forward(self, hidden: Tensor, crossing: Crossing | None, layer: int) -> Tensor:
        if crossing is not None and ((seeing := crossing.plan["read"]) or crossing.is_kept):
            x = hidden.flatten(0, 1)
            hidden = added(x, self.read(x, crossing.kept_keys(self.read.attention, layer), seeing)).view_as(hidden)
        return hidden + (torch.tanh(self.feed_gate) * self.feed(hidden)).to(hidden.dtype)
