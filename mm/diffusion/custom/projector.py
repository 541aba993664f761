"""Picture features as tokens of a visual stream: the projector of Mao et al., "RealCustom++", 2024, in the released form."""
from torch import Tensor, nn

from mm.attention import attend
from mm.diffusion.custom.views import Views


class SubjectProjector(nn.Module):
    """One cross-attention of the whole view over the parts, an MLP, and a linear path of the whole view around both: [B, n, C] → [B, n, out_width].

    Defaults are the published sizes, 34 heads of 64 and 2176 → 8704 → 2048 → 2048. Maps of the attention have no bias, and the linear path is added
    behind the MLP's norm (ours: the spec does not say).
    """

    def __init__(self, in_width: int = 2176, out_width: int = 2048, hidden: int = 8704, heads: int = 34) -> None:
        super().__init__()
        if in_width % heads:
            raise ValueError(f"SubjectProjector: in_width {in_width} is no multiple of {heads} heads; expected the channels of the encoders, and "
                             "heads that divide them")
        self.in_width, self.out_width, self.hidden, self.heads = in_width, out_width, hidden, heads
        self.norm_whole, self.norm_parts = nn.LayerNorm(in_width), nn.LayerNorm(in_width)
        self.query, self.key, self.value, self.out = (nn.Linear(in_width, in_width, bias=False) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(in_width, hidden), nn.GELU(), nn.Linear(hidden, out_width), nn.GELU(), nn.Linear(out_width, out_width),
                                 nn.LayerNorm(out_width))
        self.around = nn.Linear(in_width, out_width)

    def forward(self, views: Views) -> Tensor:
        if views.whole.shape[-1] != self.in_width:
            raise ValueError(f"features have {views.whole.shape[-1]} channels, expected {self.in_width}: the projector's in_width must be the sum of "
                             "the encoders' widths")
        whole, parts = self.norm_whole(views.whole), self.norm_parts(views.parts)
        q, k, v = (self._heads(x) for x in (self.query(whole), self.key(parts), self.value(parts)))
        gathered = attend(q, k, v).out.transpose(1, 2).flatten(2)
        return self.mlp(self.out(gathered)) + self.around(views.whole)

    def _heads(self, x: Tensor) -> Tensor:
        """[B, n, C] → [B, H, n, C / H]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)
