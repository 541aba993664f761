"""Two gated cross-attentions to raw features: Yan et al., "CrossLMM: Decoupling Long Video Sequences from LMMs via Dual Cross-Attention", 2025."""
from torch import Tensor, nn

from mm.streams.attention import CrossAttention
from mm.streams.base import Projector
from mm.streams.crossing import Crossing
from mm.streams.scope import Scope, WholeMedium
from mm.streams.seen import AllPrevious, Seen
from mm.streams.stream import Block, Branch, Placement, Plan, Shape, Stream, added


class DualCrossAttention(Stream):
    """After every K-th layer the few visual tokens of a medium attend to its many raw features (V2V), and text to those of the media before it (T2V).

        h_v ← h_v + tanh(γ_v) · W_o Attn(W_q n(h_v), W_k X, W_v X)          h_t ← h_t + tanh(γ_t) · W'_o Attn(W'_q n'(h_t), W'_k X, W'_v X)

    Both read the same incoming h. X are the encoder's features as they are; each branch has maps of its own, in the language model's layout of
    grouped heads, without biases, without rotation, and there is no MLP. No code was released: this layout is inferred from the published cost curve
    (docs/in-llm-streams.md). Our own choices, as the paper is silent or contradicts itself: gates begin at 0, n is an RMSNorm before each branch,
    and text sees media placed before it only.

    Args:
        every: 4 is the paper's best. placement: "after_layer" as its figure of the architecture shows; its equation 4 is "after_self_attention".
        scope: what a visual token reads, by default `WholeMedium()`. seen: what text reads of the media before it, by default `AllPrevious()`.
    """

    def __init__(self, every: int = 4, placement: Placement = "after_layer", scope: Scope | None = None, seen: Seen | None = None,
                 reader: Projector | None = None) -> None:
        super().__init__(every, placement, reader)
        self.scope, self.seen = scope or WholeMedium(), seen or AllPrevious()

    def block(self, shape: Shape, source_width: int) -> "DualBlock":
        return DualBlock(shape, source_width)

    def plan(self, crossing: Crossing) -> Plan:
        return {"v2v": crossing.of_own_medium(self.scope), "t2v": crossing.of_media(crossing.read.is_text, self.seen)}


class DualBlock(Block):
    def __init__(self, shape: Shape, source_width: int) -> None:
        super().__init__()
        self.v2v, self.t2v = (Branch(nn.RMSNorm(shape.width, shape.eps), CrossAttention(
            shape.width, source_width, shape.heads, shape.key_heads, shape.head_width)) for _ in range(2))

    def forward(self, hidden: Tensor, crossing: Crossing | None, layer: int) -> Tensor:
        if crossing is None:
            return hidden
        x, parts = hidden.flatten(0, 1), []
        if (visual := crossing.plan["v2v"]) and not self.v2v.rests:
            parts += self.v2v(x, crossing.keys(self.v2v.attention), visual)
        if ((text := crossing.plan["t2v"]) or crossing.is_kept) and not self.t2v.rests:
            parts += self.t2v(x, crossing.kept_keys(self.t2v.attention, layer), text)
        return added(x, parts).view_as(hidden)
