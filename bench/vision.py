"""What vision-side attention costs beside its dense form: memory and CPU time on one thread.

    python -m bench.vision

Memory is resident memory at its peak beyond what was there before. The rollout's row against products of layers' matrices, forward; bi-level routing
against the same module with all windows, and a merge of two images against one call over their keys side by side, forward and backward.
"""
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bench.machine import machine
from bench.masks import fastest, peak
from mm.attention import attend
from mm.vision.attention import Attended, BilevelRouting, pairwise_attention, rollout_row


def product(layers: list[Attended]) -> Tensor:
    """The class token's row by matrices."""
    rolled = torch.eye(layers[0].q.shape[2])
    for q, k, lse in layers:
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 - lse[..., None]).exp().mean(1)
        rolled = (weights + torch.eye(q.shape[2])) / 2 @ rolled
    return rolled[:, 0]


def layer(tokens: int, heads: int, width: int) -> Attended:
    q, k = torch.randn(1, heads, tokens, width), torch.randn(1, heads, tokens, width)
    part = attend(q, k, k, need_lse=True)
    assert part.lse is not None
    return Attended(q, k, part.lse)


def rollouts() -> dict[str, Callable[[], object]]:
    """Four layers of 12 heads over 2,049 tokens."""
    layers = [layer(2049, 12, 32) for _ in range(4)]
    return {"a row, by vectors": lambda: rollout_row(layers), "a row, by matrices": lambda: product(layers)}


def routings() -> dict[str, Callable[[], object]]:
    """Two heads over 56 x 56 features of width 64, the grid of BiFormer's first stage at 224 px."""
    x = torch.randn(1, 56 * 56, 64, requires_grad=True)
    few, every = BilevelRouting(64, heads=2, windows=7, topk=4), BilevelRouting(64, heads=2, windows=7, topk=49)
    return {"4 of 49 windows": lambda: few(x, (56, 56)).sum().backward(), "all windows, dense": lambda: every(x, (56, 56)).sum().backward()}


def pairs() -> dict[str, Callable[[], object]]:
    """32 images of 65 tokens, 4 heads of width 16, each with the next."""
    q, k, v = (torch.randn(32, 4, 65, 16, requires_grad=True) for _ in range(3))

    def merged() -> None:
        pairwise_attention(q, (k, v), (k.roll(1, 0), v.roll(1, 0))).out.sum().backward()

    def side_by_side() -> None:
        attend(q, torch.cat([k, k.roll(1, 0)], 2), torch.cat([v, v.roll(1, 0)], 2)).out.sum().backward()

    return {"a pair, merged": merged, "a pair, side by side": side_by_side}


def report(runs: Mapping[str, Callable[[], object]]) -> None:
    seconds = fastest(dict(runs))
    for name, run in runs.items():
        print(f"{name:22s} {1000 * seconds[name]:9.1f} ms {peak(run):9.1f} MiB")


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    for table in (rollouts, routings, pairs):
        print(table.__doc__)
        report(table())


if __name__ == "__main__":
    main()
