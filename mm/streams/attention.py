"""One stream attends to another: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, on mm's attention, with grouped queries."""
from torch import Tensor, nn

from mm.attention import Visibility, attend


class CrossAttention(nn.Module):
    """Queries of one stream [B, Q, width] over keys and values of another [B, N, source_width] → [B, Q, out_width].

    Args:
        heads, key_heads: query heads, and heads of keys and values, which divide them; as many if None.
        head_width: of each head; width / heads if None.
        out_width: by default `width`.
        bias: of the maps of queries, keys and values; out_bias: of the output's.

    Whatever norms, gates, dropout of outputs and residual sums a method has stand around it.
    """

    def __init__(self, width: int, source_width: int, heads: int, key_heads: int | None = None, head_width: int | None = None,
                 out_width: int | None = None, bias: bool = False, out_bias: bool = False) -> None:
        super().__init__()
        self.heads, self.key_heads = heads, key_heads or heads
        if heads % self.key_heads:
            raise ValueError(f"CrossAttention: {self.key_heads} heads of keys cannot be shared evenly by {heads} heads of queries")
        if head_width is None and width % heads:
            raise ValueError(f"CrossAttention: a width of {width} does not divide into {heads} heads; give head_width, or other heads")
        self.head_width = head_width or width // heads
        inner, shared = heads * self.head_width, self.key_heads * self.head_width
        self.query = nn.Linear(width, inner, bias)
        self.key = nn.Linear(source_width, shared, bias)
        self.value = nn.Linear(source_width, shared, bias)
        self.out = nn.Linear(inner, out_width or width, out_bias)

    def keys(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, Hk, N, head_width], which may be kept while the queries go on."""
        return self.split(self.key(source), self.key_heads), self.split(self.value(source), self.key_heads)

    def queries(self, x: Tensor) -> Tensor:
        """[B, Q, width] → [B, H, Q, head_width]"""
        return self.split(self.query(x), self.heads)

    def forward(self, x: Tensor, source: Tensor | tuple[Tensor, Tensor], mask: Tensor | Visibility | None = None, dropout: float = 0.0) -> Tensor:
        """source: the other stream, or what `keys` made of it. mask: bool, broadcastable to [B, H, Q, N], True where a query sees a key; a query that
        sees none gets zeros from the attention, and so the bias of the output. dropout: share of the weights that is dropped.
        """
        k, v = self.keys(source) if isinstance(source, Tensor) else source
        out = attend(self.queries(x), k, v, mask, dropout=dropout).out
        return self.out(out.transpose(1, 2).flatten(2))

    def split(self, x: Tensor, heads: int) -> Tensor:
        """[B, N, heads * head_width] → [B, heads, N, head_width]"""
        return x.unflatten(-1, (heads, self.head_width)).transpose(1, 2)
