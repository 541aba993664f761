"""What the exact forms of a frame-causal mask cost: CPU time on one thread over that of the stock kernel with the dense mask.

    python -m bench.ccam

1024 queries, 8 heads of width 64, float32; T frames of 98 and 729 features. Frames: `mm.streams.prefixes`, each frame attended to by the queries
that see it, merged by (O, LSE). Tiles: the same rule as a `Visibility`, by `mm.attention.Tiled`, its maps made anew as for a new batch. Groups:
queries that see the same frames attend to all of these at once. Forward, and forward and backward. The last column: the memory that one forward and
backward pass needs at its peak beyond its inputs, by frames over dense.
"""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.machine import machine
from bench.masks import backward, fastest, peak
from mm.attention import Tiled, Visibility, attend
from mm.masks import Mask
from mm.streams import CausalCeil
from mm.streams.prefixes import prefix_attention
from mm.tokens import TokenMap

QUERIES, HEADS, WIDTH = 1024, 8, 64
FRAMES, FEATURES = (16, 32, 96), (98, 729)


class Earlier(Mask):
    """A query sees the frames up to its own."""

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return k.frame <= q.frame


def visibility(last: Tensor, frames: int, size: int) -> Visibility:
    """Queries, then the features of all frames, as tokens of one row."""
    text = TokenMap.text(torch.ones(1, QUERIES + frames * size))
    frame = torch.cat([last, torch.arange(frames).repeat_interleave(size)])[None]
    return Visibility(Earlier(), TokenMap(**{**text.__dict__, "frame": frame}), slice(0, QUERIES), slice(QUERIES, QUERIES + frames * size))


def groups(q: Tensor, k: Tensor, v: Tensor, first: list[int]) -> Tensor:
    size = k.shape[2] // len(first)
    ends = zip(first, [*first[1:], QUERIES], strict=True)
    return torch.cat([attend(q[:, :, start:stop], k[:, :, :size * (frame + 1)], v[:, :, :size * (frame + 1)]).out
                      for frame, (start, stop) in enumerate(ends)], 2)


def compare(frames: int, size: int) -> None:
    """One line of the table."""
    torch.manual_seed(0)
    q, k, v = torch.randn(1, HEADS, QUERIES, WIDTH), *(torch.randn(1, HEADS, frames * size, WIDTH) for _ in range(2))
    trained = [x.clone().requires_grad_() for x in (q, k, v)]
    first, last = CausalCeil().first(QUERIES, frames).tolist(), torch.from_numpy(CausalCeil().last(QUERIES, frames))
    dense = torch.arange(frames).repeat_interleave(size) <= last[:, None]
    forms: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "dense": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dense),
        "frames": lambda q, k, v: prefix_attention(q, k, v, first),
        "tiles": lambda q, k, v: attend(q, k, v, visibility(last, frames, size), backend=Tiled()).out,
        "groups": lambda q, k, v: groups(q, k, v, first)}
    forward = fastest({name: lambda form=form: form(q, k, v) for name, form in forms.items()}, 3)  # type: ignore[misc]
    both = fastest({name: lambda form=form: backward(form(*trained)) for name, form in forms.items()}, 2)  # type: ignore[misc]
    memory = {name: peak(lambda form=forms[name]: backward(form(*trained))) for name in ("dense", "frames")}  # type: ignore[misc]
    cells = "  ".join(f"{times[name] / times['dense']:7.2f}" for name in ("frames", "tiles", "groups") for times in (forward, both))
    print(f"{frames:6d} {size:8d}   {forward['dense']:7.3f} s   {cells}   {memory['frames'] / memory['dense']:6.2f}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    print(f"{QUERIES} queries, {HEADS} heads of width {WIDTH}, float32: time over the stock kernel's with the dense mask, forward | and backward")
    print("frames features   dense, fwd    frames       and    tiles       and   groups       and   memory")
    for size in FEATURES:
        for frames in FRAMES:
            compare(frames, size)


if __name__ == "__main__":
    main()
