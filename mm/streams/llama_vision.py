"""The gated cross-attention layers of Llama 3.2 Vision: Grattafiori et al., "The Llama 3 Herd of Models", 2024, section 7."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm.streams.attention import CrossAttention
from mm.streams.base import Projector
from mm.streams.crossing import Crossing
from mm.streams.seen import AllPrevious, Seen
from mm.streams.segments import Pair
from mm.streams.stream import Block, Branch, Placement, Plan, Shape, Stream, added


class LlamaVisionCrossAttention(Stream):
    """As `GatedCrossAttention`, in the language model's own forms: RMSNorm, its grouped heads with queries and keys normalised head by head, its
    SwiGLU; and the MLP acts only on tokens that read something, so a row without media is the plain model's.

    In transformers a token before any medium averages over all of them; here it reads nothing.

    Args:
        every, placement: before every 4th layer, which makes layers 3, 8, 13, ... of the released model, blocks counted (these indices from memory).
        seen: of the media before a token, by default `AllPrevious()`.
    """

    def __init__(self, every: int = 4, placement: Placement = "before_layer", seen: Seen | None = None, reader: Projector | None = None) -> None:
        super().__init__(every, placement, reader)
        self.seen = seen or AllPrevious()

    def block(self, shape: Shape, source_width: int) -> "LlamaVisionBlock":
        return LlamaVisionBlock(shape, source_width)

    def plan(self, crossing: Crossing) -> Plan:
        return {"read": crossing.of_media(crossing.read.is_text | crossing.read.is_vision, self.seen)}


class NormedCrossAttention(CrossAttention):
    """Queries and keys go through an RMSNorm, head by head."""

    def __init__(self, width: int, source_width: int, heads: int, key_heads: int, head_width: int, eps: float) -> None:
        super().__init__(width, source_width, heads, key_heads, head_width)
        self.query_norm, self.key_norm = nn.RMSNorm(head_width, eps), nn.RMSNorm(head_width, eps)

    def keys(self, source: Tensor) -> Pair:
        k, v = super().keys(source)
        return self.key_norm(k), v

    def queries(self, x: Tensor) -> Tensor:
        return self.query_norm(super().queries(x))


class LlamaVisionBlock(Block):
    def __init__(self, shape: Shape, source_width: int) -> None:
        super().__init__()
        self.read = Branch(nn.RMSNorm(shape.width, shape.eps), NormedCrossAttention(
            shape.width, source_width, shape.heads, shape.key_heads, shape.head_width, shape.eps))
        self.norm = nn.RMSNorm(shape.width, shape.eps)
        self.gate_proj, self.up_proj = (nn.Linear(shape.width, shape.hidden, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(shape.hidden, shape.width, bias=False)
        self.feed_gate = nn.Parameter(torch.zeros(()))

    def forward(self, hidden: Tensor, crossing: Crossing | None, layer: int) -> Tensor:
        if crossing is None or not ((seeing := crossing.plan["read"]) or crossing.is_kept):
            return hidden
        x = hidden.flatten(0, 1)
        x = added(x, self.read(x, crossing.kept_keys(self.read.attention, layer), seeing))
        gate = torch.tanh(self.feed_gate)
        return added(x, [(segment.tokens, (gate * self.feed(x[segment.tokens])).to(x.dtype)) for segment in seeing]).view_as(hidden)

    def feed(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
