"""Multi-head cross-attention: Vaswani et al., "Attention Is All You Need", NeurIPS 2017."""
from torch import Tensor, nn

from mm.attention import attend


class CrossAttention(nn.Module):
    """Tokens of one stream read those of another; the maps are those of PyTorch's MultiheadAttention, cut into queries, and keys and values.

    ValueError where `heads` does not divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"CrossAttention: heads share the width evenly; got {width=}, {heads=}")
        self.width, self.heads = width, heads
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, reader: Tensor, read: Tensor, real: Tensor | None = None) -> Tensor:
        """reader: [B, Q, width]. read: [B, N, width]. real: bool [B, N], False where a token of `read` is padding. → [B, Q, width]."""
        q = self.q(reader).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(read).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if real is None else real[:, None, None]
        return self.out(attend(q, k, v, mask).out.transpose(1, 2).flatten(2))
