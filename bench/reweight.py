"""What rules inside attention cost: CPU time of one thread, the least of repeats that take turns, without gradients.

    python -m bench.reweight

Prefill: VAR over N tokens, an image of 576 behind 35 tokens of text, six sinks, two heads of width 128, float32; it may touch a question of 64 tokens
at the end, or all text behind the image. "eager" is attention as transformers writes it where weights are wanted, with VAR's factors on the N x N
weights, vectorised. Memory is the most that a call has allocated at a time. Decoding: one token through one decoder layer of Qwen3-1.7B's shape, with
and without each rule. Crossover: rows written out against groups on the fused kernel.
"""
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from bench.machine import machine
from mm.attention import Active, attend, engine, reweigh
from mm.reweight import ACT, DARA, PAI, VAR, Rule, ZeroTuning
from mm.tokens import Kind, TokenMap

WIDTH = 128  # of a head
IMAGE = slice(35, 611)
SINKS = [0, 5, 20, 100, 300, 500]


def prompt(length: int) -> TokenMap:
    """Text, an image, text."""
    text = TokenMap.text(torch.ones(1, length, dtype=torch.bool))
    kind, media = text.kind.clone(), text.media.clone()
    kind[:, IMAGE], media[:, IMAGE] = Kind.VISION, 0
    return TokenMap(kind, text.document, text.branch, media, text.frame, text.row, text.col, text.role, text.turn, text.position, text.index)


def sink_groups(tokens: TokenMap) -> Tensor:
    sink = torch.isin(tokens.index, torch.tensor(SINKS))
    return torch.where(tokens.is_vision, torch.where(sink, 2, 3), torch.where(sink, 1, 0))


def qkv(length: int, heads: int, key_heads: int | None = None, queries: int | None = None,
        dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    shapes = (heads, queries or length), (key_heads or heads, length), (key_heads or heads, length)
    q, k, v = (torch.randn(1, *shape, WIDTH).to(dtype) for shape in shapes)
    return q, k, v


def least(functions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """CPU seconds of each."""
    best = [float("inf")] * len(functions)
    for _ in range(repeats):
        for index, function in enumerate(functions):
            start = time.process_time()
            function()
            best[index] = min(best[index], time.process_time() - start)
    return best


def peak(function: Callable[[], object]) -> float:
    """Most megabytes that a call has allocated at a time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        function()
    now = most = 0
    for event in recorded.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most / 1e6


def eager(q: Tensor, k: Tensor, v: Tensor, rule: VAR, groups: Tensor, first: int) -> Tensor:
    """VAR on the N x N weights, for the rows from `first` on."""
    length = q.shape[2]
    hidden = torch.full((length, length), torch.finfo(q.dtype).min).triu(1)
    weights = (q @ k.transpose(-1, -2) * WIDTH**-0.5 + hidden).softmax(-1, dtype=torch.float32)
    rows = weights[:, :, first:]
    mass = torch.stack([rows[..., groups[0] == group].sum(-1) for group in range(4)])
    size = F.one_hot(groups, 4).sum(1).T.view(4, 1, 1, 1)
    factors = rule.weights(mass, size)
    return torch.cat([weights[:, :, :first], rows * factors.permute(1, 2, 3, 0)[..., groups[0]]], 2) @ v


def prefill(lengths: tuple[int, ...] = (1024, 4096, 8192)) -> None:
    print("\nprefill: tokens, rows   mm / plain   eager / mm   eager / plain   megabytes plain, mm, eager   eager / mm", flush=True)
    rule = VAR(())
    for length in lengths:
        inputs, tokens = qkv(length, heads=2), prompt(length)
        groups = sink_groups(tokens)
        for first in (length - 64, IMAGE.stop):
            active = [Active(rule, groups, (torch.arange(length) >= first)[None])]
            calls: list[Callable[[], object]] = [
                partial(F.scaled_dot_product_attention, *inputs, is_causal=True),
                partial(reweigh, *inputs, active, None, True, None, tokens, 0),
                partial(eager, *inputs, rule, groups, first)]
            plain, mm, dense = least(calls, 9 if length < 4096 else 5)
            memory = [peak(call) for call in calls]
            print(f"{length:14d}, {length - first:4d}   {mm / plain:10.2f}   {dense / mm:10.1f}   {dense / plain:13.1f}   "
                  f"{memory[0]:15.0f}, {memory[1]:2.0f}, {memory[2]:5.0f}   {memory[2] / memory[1]:10.0f}", flush=True)


class Layer(nn.Module):
    """One decoder layer of Qwen3-1.7B's shape, a token at a time, over keys that are there already."""

    def __init__(self, width: int = 2048, heads: int = 16, key_heads: int = 8, inner: int = 6144) -> None:
        super().__init__()
        self.heads, self.key_heads = heads, key_heads
        self.qkv = nn.Linear(width, (heads + 2 * key_heads) * WIDTH, bias=False)
        self.out = nn.Linear(heads * WIDTH, width, bias=False)
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, k: Tensor, v: Tensor, active: list[Active], tokens: TokenMap) -> Tensor:
        q, _, _ = self.qkv(F.rms_norm(x, x.shape[-1:])).split([self.heads * WIDTH, self.key_heads * WIDTH, self.key_heads * WIDTH], -1)
        q = q.view(1, self.heads, 1, WIDTH)
        out = reweigh(q, k, v, active, None, False, None, tokens, tokens.shape[1] - 1) if active else attend(q, k, v).out
        x = x + self.out(out.flatten(1).unsqueeze(1))
        gate, up = self.up(F.rms_norm(x, x.shape[-1:])).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def decoding(lengths: tuple[int, ...] = (1024, 4096, 8192)) -> None:
    print("\ndecoding, one layer: dtype, keys   " + "   ".join(f"{type(rule).__name__:>10s}" for rule in rules()) + "   / plain", flush=True)
    for dtype in (torch.float32, torch.bfloat16):
        layer = Layer().to(dtype)
        x = torch.randn(1, 1, 2048).to(dtype)
        for length in lengths:
            _, k, v = qkv(length, layer.heads, layer.key_heads, dtype=dtype)
            tokens = prompt(length)
            calls = [partial(layer, x, k, v, active, tokens) for active in [[], *([one(rule, tokens, layer.heads)] for rule in rules())]]
            plain, *times = least(calls, 60)
            print(f"{str(dtype)[6:]:>26s}, {length:5d}   " + "   ".join(f"{seconds / plain:10.2f}" for seconds in times), flush=True)


def rules() -> list[Rule]:
    dara = DARA(images=1, heads=16)
    nn.init.constant_(dara.factor, 1.2)  # type: ignore[arg-type]
    return [VAR(()), ACT(), ZeroTuning(0.5), PAI(), dara]


def one(rule: Rule, tokens: TokenMap, heads: int) -> Active:
    if isinstance(rule, VAR | ACT):
        sinks = sink_groups(tokens)
        groups = sinks if isinstance(rule, VAR) else (sinks % 3 > 0).long().unsqueeze(1).repeat(1, heads, 1)
        return Active(rule, groups)
    return Active(rule, rule.groups(tokens, 0))


def crossover() -> None:
    print("\ncrossover: heads, tokens, rows   numbers written out / threshold   time written out / grouped", flush=True)
    rule, threshold = VAR(()), engine.CROSSOVER
    for heads, length in ((2, 1024), (2, 4096), (16, 1024), (16, 4096)):
        inputs, tokens = qkv(length, heads), prompt(length)
        for rows in (4, 16, 64, 256):
            active = [Active(rule, sink_groups(tokens), (torch.arange(length) >= length - rows)[None])]
            times = []
            for engine.CROSSOVER in (2**62, 0):
                times += least([partial(reweigh, *inputs, active, None, True, None, tokens, 0)], 7 if heads * length < 20000 else 3)
            print(f"{heads:16d}, {length:6d}, {rows:4d}   {heads * length * rows / threshold:31.2f}   {times[0] / times[1]:27.2f}", flush=True)
    engine.CROSSOVER = threshold


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    print(machine())
    prefill()
    decoding()
    crossover()


if __name__ == "__main__":
    main()
