"""What control of a diffusion model costs: `python -m bench.edit` prints ratios. One CPU thread.

Self-injection against editing the map; a controlled step of a U-Net of SD-1.x's shape, narrower, against an uncontrolled step of the same batch.
"""
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.machine import machine
from mm import control
from mm.diffusion import Branches, Prompt, SelfInject, Span, Window
from mm.diffusion.columns import Columns, from_source
from mm.diffusion.edit import Edit, WordEdit
from mm.diffusion.moment import Moment
from mm.diffusion.operands import Axes, RowEdit, edited
from mm.diffusion.recorder import Recorder, at_reduction
from mm.diffusion.watched import Call

HEADS, WIDTH, KEYS = 8, 40, 77


def seconds(run: Callable[[], Any], repeats: int = 5) -> float:
    """Median time of a call, after one that does not count."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def extra_memory(run: Callable[[], Any]) -> int:
    """Bytes at the peak of what a call allocates and frees, from the profiler's record of allocations."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    held = peak = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def call_of(rows: int, pixels: int) -> Call:
    q, k, v = (torch.randn(rows, HEADS, pixels, WIDTH, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    return Call(q, k, v, None, None, lambda: nn.functional.scaled_dot_product_attention(q, k, v), None)


def by_maps(call: Call) -> Tensor:
    """Self-injection into row 1 as the original does it: both maps, one copied over the other."""
    maps = ((call.q * WIDTH**-0.5) @ call.k.transpose(-1, -2)).softmax(-1)
    maps[1] = maps[0]
    return maps @ call.v


def injection(side: int) -> str:
    """A row of the table: source and edited row at side x side pixels."""
    call = call_of(2, side * side)
    axes = Axes(None, slice(0, side * side), slice(0, side * side))
    edits = [RowEdit(1, 0, takes=frozenset({"q", "k"}))]
    assert torch.allclose(edited(call, axes, edits), by_maps(call), atol=1e-5)
    maps, fused, plain = (seconds(run) for run in (lambda: by_maps(call), lambda: edited(call, axes, edits), call.stock))
    memory = [extra_memory(run) for run in (lambda: by_maps(call), lambda: edited(call, axes, edits))]
    return (f"self-injection at {side} x {side}: maps {maps * 1e3:.0f} ms, fused {fused * 1e3:.0f} ms ({maps / fused:.1f}x faster; plain attention "
            f"{plain * 1e3:.0f} ms); memory {memory[0] / 2**20:.0f} MiB and {memory[1] / 2**20:.1f} MiB (1/{memory[0] / memory[1]:.0f})")


class Swap(WordEdit):
    """Every column from the source, gated by `share`: 1 leaves one attention, less needs two."""

    def __init__(self, share: float) -> None:
        self.share = share

    def change(self, columns: Columns, source: Prompt, target: Prompt) -> Columns:
        return from_source(torch.eye(target.keys))

    def gate(self, target: Prompt, moment: Moment) -> Tensor:
        return torch.full((target.keys,), self.share)


def unet() -> nn.Module:
    """SD-1.x's blocks and heads at a quarter of its width."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    model: Any = UNet2DConditionModel(sample_size=64, block_out_channels=(80, 160, 320, 320), cross_attention_dim=192, attention_head_dim=8,
                                      norm_num_groups=16)
    return model.eval().requires_grad_(False)


def steps(side: int) -> list[str]:
    """Rows of the table: steps of source and target with guidance at latents of side x side."""
    model = unet()
    given = {"sample": torch.randn(4, 4, side, side), "timestep": torch.tensor(500), "encoder_hidden_states": torch.randn(4, KEYS, 192)}
    words = [Prompt(text, (Span(0, KEYS, (0, 1, 2), ("", text, "")),)) for text in ("cat", "dog")]
    inject = SelfInject(Window(0.0, 1.0), side=1.0)

    def step() -> Tensor:
        with torch.no_grad():
            return model(**given).sample

    edits: dict[str, tuple[list[Edit], list[Recorder]]] = {
        "resting edits": ([Swap(0.0)], []), "words": ([Swap(1.0)], []), "words, half a gate": ([Swap(0.5)], []),
        "words and pixels": ([Swap(1.0), inject], []),
        "words, pixels and recorded words at 1/4": ([Swap(1.0), inject], [Recorder([[(1,)]] * 2, at_reduction(4))])}
    rows = []
    for name, (levers, recorders) in edits.items():
        def controlled(levers: list[Edit] = levers, recorders: list[Recorder] = recorders) -> Tensor:
            with control(model, levers, words, Branches.guided(2), recorders) as running:
                running.at(0, 10)
                return step()

        pairs = [(seconds(step, 1), seconds(controlled, 1)) for _ in range(5)]  # in turn, so that what else the machine does hits both
        plain, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
        rows.append(f"step at {side} x {side}, {name}: {plain * 1e3:.0f} ms plain, {ours * 1e3:.0f} ms controlled ({ours / plain:.3f}x)")
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(machine())
    for pixels in (16, 32, 64):
        print(injection(pixels), flush=True)
    for line in steps(32):
        print(line, flush=True)
