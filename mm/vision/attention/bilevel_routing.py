"""Bi-level routing attention: Zhu et al., "BiFormer: Vision Transformer with Bi-Level Routing Attention", CVPR 2023.

First windows choose windows, by the means of their queries and keys; then tokens attend within the windows chosen.
"""
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from mm.attention import attend
from mm.vision.attention.regional import regional_attention
from mm.vision.attention.windows import Grid, Windows

Routing = Literal["detached", "soft"]


class Route(NamedTuple):
    """windows: int64 [B, R, K], those that each of R windows reads, best first. weight: [B, R, K], softmax of their K scores."""

    windows: Tensor
    weight: Tensor


class BilevelRouting(nn.Module):
    """Attention among the features of a grid, over the `topk` windows that suit a feature's window best.

    Args:
        windows: S, at most so many a side; a window is ceil(side / S) features long, and the last may hang over. topk: windows read by each; S² or
            more is dense attention.
        keys_per_window: side to which the keys and values of a window are averaged; None keeps all.
        local_kernel: side of the depth-wise convolution of values that is added (local enhancement); 0 leaves it out.
        routing: "detached", the choice has no gradient (the original's default); "soft" multiplies the gathered keys and values by the softmax of
            the routing scores, with gradients.

    Scores are divided by the root of the whole width, not of a head's, as released. The choice is shared by all heads. On a grid that windows do not
    divide, what hangs over is masked and left out of means (our choice; the released versions attend to padded zeros, or average without padding).
    ValueError for numbers that do not fit.
    """

    def __init__(self, width: int, heads: int = 8, windows: int = 7, topk: int = 4, keys_per_window: int | None = None, local_kernel: int = 5,
                 routing: Routing = "detached") -> None:
        super().__init__()
        if width % heads or windows < 1 or topk < 1 or (keys_per_window is not None and keys_per_window < 1):
            raise ValueError(f"BilevelRouting: heads divides width, and windows, topk and keys_per_window are at least 1; "
                             f"got {width=}, {heads=}, {windows=}, {topk=}, {keys_per_window=}")
        if local_kernel < 0 or (local_kernel and local_kernel % 2 == 0):
            raise ValueError(f"BilevelRouting: local_kernel is odd, or 0 for none; got {local_kernel}")
        self.width, self.heads, self.windows, self.topk = width, heads, windows, topk
        self.keys_per_window, self.local_kernel, self.routing = keys_per_window, local_kernel, routing
        self.scale = width ** -0.5
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.local = nn.Conv2d(width, width, local_kernel, padding=local_kernel // 2, groups=width) if local_kernel else None

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """x: [B, rows * cols, width], row by row. → the same shape."""
        if x.shape[1] != grid[0] * grid[1] or x.shape[2] != self.width:
            raise ValueError(f"BilevelRouting takes features [B, rows * cols, {self.width}]; got {tuple(x.shape)} for a grid of {grid}")
        q, k, v = self.qkv(x).chunk(3, -1)
        windows = Windows.of(grid, self.windows)
        if self.topk >= windows.count and self.keys_per_window is None and self.routing == "detached":
            mixed = merged(attend(self.split(q), self.split(k), self.split(v), scale=self.scale).out)
        else:
            mixed = self.routed(q, k, v, windows)
        if self.local is not None:
            mixed = mixed + self.local(v.transpose(1, 2).unflatten(-1, grid)).flatten(2).transpose(1, 2)
        return self.out(mixed)

    def routed(self, q: Tensor, k: Tensor, v: Tensor, windows: Windows) -> Tensor:
        """[B, rows * cols, width] each → the same."""
        route = self.route(q, k, windows)
        queries, keys, values = (windows.cut(part) for part in (q, k, v))
        real = windows.real(q.device)
        if self.keys_per_window is not None:
            keys, values, real = averaged(keys, values, windows.size, self.keys_per_window, real)
        weight = route.weight[:, None] if self.routing == "soft" else None
        mixed = regional_attention(self.split(queries), self.split(keys), self.split(values), route.windows[:, None], self.scale, real, weight)
        return windows.join(merged(mixed))

    def route(self, q: Tensor, k: Tensor, windows: Windows) -> Route:
        """Which windows each window reads. q, k: [B, rows * cols, width]."""
        if self.routing == "detached":
            q, k = q.detach(), k.detach()
        real = windows.real(q.device)
        sizes = windows.size[0] * windows.size[1] if real is None else real.sum(-1, keepdim=True)
        means = [windows.cut(part).sum(-2) / sizes for part in (q, k)]
        scores = (means[0] * self.scale) @ means[1].transpose(-1, -2)
        best = scores.topk(min(self.topk, windows.count), -1)
        return Route(best.indices, best.values.softmax(-1))

    def split(self, x: Tensor) -> Tensor:
        """[B, ..., width] → [B, heads, ..., D]."""
        return x.unflatten(-1, (self.heads, -1)).movedim(-2, 1)


def merged(x: Tensor) -> Tensor:
    """[B, heads, ..., D] → [B, ..., width]."""
    return x.movedim(1, -2).flatten(-2)


def averaged(k: Tensor, v: Tensor, size: Grid, side: int, real: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys and values [B, R, h * w, C] → [B, R, side², C], means over parts of each window that are as equal as can be, of what is real there; and
    which parts hold anything, bool [R, side²]."""

    def pooled(x: Tensor) -> Tensor:
        return adaptive_avg_pool2d(x.flatten(0, 1).transpose(1, 2).unflatten(-1, size), side).flatten(2).transpose(1, 2).unflatten(0, x.shape[:2])

    if real is None:
        return pooled(k), pooled(v), None
    share = pooled(real[None, :, :, None].to(k.dtype))
    known = share > 0
    share = share.masked_fill(~known, 1.0)
    return pooled(k) / share, pooled(v) / share, known[0, ..., 0]
