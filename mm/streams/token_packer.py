"""Coarse tokens that fetch detail from their own region: Li et al., "TokenPacker: Efficient Visual Projector for Multimodal LLM", IJCV 2025."""
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from mm.attention import attend
from mm.streams.attention import CrossAttention
from mm.streams.base import Grid
from mm.streams.blocks import BlockProjector


class TokenPacker(BlockProjector):
    """Features, reduced by `factor` on each side, query the block of features under them in several layers, and no others; then an MLP.

    q = LN(W_q reduced features); k and v = LN(MLP(features of `levels`)); token = MLP(attention), without a residual of q. Blocks become the batch of
    the attention, so no mask is needed.

    Args:
        factor: 2, 3 and 4 are the paper's.
        levels: layers that the detail comes from. The default is hidden states 12, 16, 22 and 23 of CLIP ViT-L/14 with its 24 blocks; the released
            model takes the last of them for the queries too, so its encoder has layer=-2.
        heads: in_width / 128 by default.

    Features are reduced bilinearly without antialiasing, as released: at factor 2 that is the mean of the block, at 3 the feature in its middle, at 4
    the mean of the four in its middle.
    """

    def __init__(self, in_width: int, out_width: int, factor: int = 2, levels: Sequence[int] = (-13, -9, -3, -2), heads: int | None = None) -> None:
        super().__init__(in_width, out_width, factor)
        if not levels:
            raise ValueError("TokenPacker: levels name at least one layer that the detail comes from; got none")
        self.levels, self.heads = tuple(levels), heads
        self.query = nn.Linear(in_width, in_width, bias=False)
        self.key, self.value = (
            nn.Sequential(nn.Linear(in_width * len(levels), in_width), nn.GELU(), nn.Linear(in_width, in_width)) for _ in range(2))
        self.query_norm, self.key_norm, self.value_norm = (nn.LayerNorm(in_width, eps=1e-6) for _ in range(3))
        self.attention = CrossAttention(in_width, in_width, heads or max(1, in_width // 128), bias=True, out_bias=True)
        self.mlp = nn.Sequential(nn.Linear(in_width, out_width), nn.GELU(), nn.Linear(out_width, out_width))

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        coarse, fine = x[..., :self.in_width], x[..., self.in_width:]
        reduced = interpolate(coarse.transpose(1, 2).unflatten(2, grid), self.out_grid(grid), mode="bilinear").flatten(2).transpose(1, 2)
        attention = self.attention
        queries = attention.query(self.query_norm(self.query(reduced))).unsqueeze(2)
        keys = self.blocks(attention.key(self.key_norm(self.key(fine))), grid)
        values = self.blocks(attention.value(self.value_norm(self.value(fine))), grid)
        q, k, v = (attention.split(table.flatten(0, 1), attention.heads) for table in (queries, keys, values))  # [F * blocks, heads, ..., head width]
        packed = attention.out(attend(q, k, v).out.flatten(1))
        return self.mlp(packed.unflatten(0, queries.shape[:2]))
