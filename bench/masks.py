"""What masks cost: attention under a rule by tiles against the stock kernel with a dense mask, and the maps of blocks, CPU time on one thread.

    python -m bench.masks

For each mask and length: the time of `mm.attention.Tiled` over that of PyTorch's attention given the finished dense mask (forward; forward and
backward; a first layer, which also builds the maps and masks that later layers share, forward), its causal flag over the same for scale, and the
memory that each needs at its peak beyond its inputs. Then the time to map the blocks of 8k tokens, beside `create_block_mask`.
"""
import ctypes
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask

from bench.machine import machine
from mm.attention import Tiled, Visibility, attend
from mm.masks import Causal, Document, ImageBlock, Mask, Prefix
from mm.tokens import Kind, Role, TokenMap

HEADS, WIDTH = 8, 64
LENGTHS = (2048, 4096, 8192)


class Mutual(Mask):
    """Images also see the questions: the shape of modality-mutual attention."""

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return (k.index <= q.index) | (q.is_vision & (k.role == Role.QUESTION) & ~k.is_vision)


class Diagonal(Mask):
    """Image tokens see only themselves: the shape of composite attention."""

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return (k.index <= q.index) & (~q.is_vision | (k.index == q.index))


MASKS: dict[str, Mask] = {"image block": ImageBlock(), "prefix": Prefix(), "mutual": Mutual(), "composite": Diagonal(), "packed, causal": Causal(),
                          "packed, full": Document()}


def tokens(length: int, documents: int) -> TokenMap:
    """A row of dialogues of equal length: system text, two images in three quarters of the room, a question, an answer."""
    size = length // documents
    image = size * 3 // 8
    parts = {"system": 32, "i": image, "j": image, "question": 64, "answer": size - 2 * image - 96}
    kind, role, media = [], [], []
    for name, count in parts.items():
        vision = name in ("i", "j")
        kind += [Kind.VISION if vision else Kind.TEXT] * count
        role += [{"system": Role.SYSTEM, "answer": Role.ANSWER}.get(name, Role.QUESTION)] * count
        media += ["ij".index(name) if vision else -1] * count
    text = TokenMap.text(torch.ones(1, length))
    tables: dict[str, Sequence[int]] = {"kind": kind, "role": role, "media": media, "position": range(size)}
    repeated = {name: torch.tensor([int(entry) for entry in table]).repeat(documents)[None] for name, table in tables.items()}
    frame = torch.where(repeated["media"] >= 0, 0, -1)
    return TokenMap(**{**text.__dict__, **repeated, "frame": frame, "document": torch.arange(documents).repeat_interleave(size)[None]})


def fastest(runs: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Least CPU time of each, in seconds; interleaved, so that a slow moment hits all of them."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - start)
    return best


def peak(run: Callable[[], object]) -> float:
    """Resident memory that `run` needs at its peak beyond what was there before, in MiB. Linux."""
    status = Path("/proc/self/status")
    ctypes.CDLL(None).malloc_trim(0)  # what earlier runs freed must not pass for free memory
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
    before = resident(status, "VmRSS")
    run()
    return (resident(status, "VmHWM") - before) / 1024


def resident(status: Path, name: str) -> float:
    return float(next(line for line in status.read_text().splitlines() if line.startswith(name)).split()[1])


def backward(out: Tensor) -> None:
    out.sum().backward()


def compare(name: str, mask: Mask, length: int) -> None:
    """One line of the table."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, HEADS, length, WIDTH) for _ in range(3))
    dq, dk, dv = (x.clone().requires_grad_() for x in (q, k, v))
    row, everything = tokens(length, 4 if name.startswith("packed") else 1), slice(0, length)
    rule, dense = Visibility(mask, row, everything, everything), mask.dense(row)
    times = fastest({
        "tiled": lambda: attend(q, k, v, rule, backend=Tiled()),
        "first": lambda: attend(q, k, v, Visibility(mask, row, everything, everything), backend=Tiled()),
        "dense": lambda: F.scaled_dot_product_attention(q, k, v, dense),
        "causal": lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)})
    both = fastest({
        "tiled": lambda: backward(attend(dq, dk, dv, rule, backend=Tiled()).out),
        "dense": lambda: backward(F.scaled_dot_product_attention(dq, dk, dv, dense))}, 3)
    tiled_peak = peak(lambda: attend(q, k, v, Visibility(mask, row, everything, everything), backend=Tiled()))
    dense_peak = peak(lambda: F.scaled_dot_product_attention(q, k, v, mask.dense(row)))
    print(f"{name:15s} {length:6d}   {times['tiled'] / times['dense']:6.2f} {both['tiled'] / both['dense']:8.2f} "
          f"{times['first'] / times['dense']:12.2f} {times['causal'] / times['dense']:8.2f}   {tiled_peak:8.1f} {dense_peak:8.1f}", flush=True)


def block_maps(name: str, mask: Mask, length: int = 8192) -> None:
    """Time to map the blocks, beside the stock way."""
    row, everything = tokens(length, 4 if name.startswith("packed") else 1), slice(0, length)

    def fresh() -> Visibility:
        return Visibility(mask, row, everything, everything)

    times = fastest({"ours": lambda: fresh().block_mask(),
                     "stock": lambda: create_block_mask(fresh().mask_mod(), 1, None, length, length, device="cpu")}, 3)
    ours, stock = times["ours"] * 1e3, times["stock"] * 1e3
    print(f"{name:15s} {length:6d}   {ours:8.1f} ms   {stock:8.1f} ms   {ours / stock:.4f}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    print(f"attention, {HEADS} heads of width {WIDTH}, float32: time over the stock kernel's with the dense mask; peak memory in MiB")
    print("mask            tokens    tiled  fwd+bwd  first layer   causal      tiled    dense")
    for name, mask in MASKS.items():
        for length in LENGTHS:
            compare(name, mask, length)
    print("map of blocks   tokens       bounds   create_block_mask   ratio")
    for name, mask in MASKS.items():
        block_maps(name, mask)


if __name__ == "__main__":
    main()
