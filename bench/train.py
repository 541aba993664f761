"""Where a training step of the demo spends its CPU time, and what it would cost by hand.

    python -m bench.train [--config configs/demo.yaml] [--steps 20]

Everything is process CPU time of one thread, in bfloat16 autocast and in float32; `mm.training.FastestPrecision` takes the faster of the two. A busy
neighbour still slows caches and clocks, so each figure stands beside the same step written by hand in plain PyTorch (`bench/prototype.py`), the two
taking turns. The first prototype of the embedded world made 173 images per CPU-second at 0.45 M parameters and 96 at 1.1 M.
"""
import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

import train
from bench.machine import machine
from bench.prototype import Prototype
from mm.models import VLM
from mm.models.batch import Batch
from mm.parts import build
from mm.training import Optim, token_loss
from mm.training.memory import keep_freed_memory
from mm.training.precision import fastest_dtype
from mm.training.rates import groups_of

SMALL = {"vision": {"width": 96, "depth": 1}, "language": {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 2}}
Step = Callable[[], object]


class PlainBlock(nn.Module):
    """A Llama block written out: the same arithmetic as the transformers decoder, nothing around it."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate_up, self.down = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q, k, v = self.qkv(rms_norm(x, x.shape[-1:], self.norm1)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = scaled_dot_product_attention(rotated(q, cos, sin).to(v.dtype), rotated(k, cos, sin).to(v.dtype), v, attn_mask=mask)
        x = x + self.out(out.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(rms_norm(x, x.shape[-1:], self.norm2)).chunk(2, -1)
        return x + self.down(silu(gate) * up)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def assemble(config: dict[str, Any], smaller: dict[str, dict[str, Any]]) -> VLM:
    model = config["model"]
    model["vision"]["init_args"] |= smaller.get("vision", {})
    model["language"]["init_args"]["config"] |= smaller.get("language", {})
    vision, language = build(model["vision"]), build(model["language"])
    module, _, name = model["projector"]["class_path"].rpartition(".")
    projector = getattr(import_module(module), name)(vision.width, language.width, **model["projector"].get("init_args", {}))
    return VLM(vision, projector, language, *(build(model[lever]) for lever in ("mask", "positions", "layout")))


def cpu(repeats: int, *steps: Step) -> tuple[float, ...]:
    """CPU-seconds of one call of each, medians; the steps take turns, so that all meet the same neighbours."""
    for step in steps:
        step()
    spent = [[0.0] * repeats for _ in steps]
    for turn in range(repeats):
        for step, seconds in zip(steps, spent, strict=True):
            start = time.process_time()
            step()
            seconds[turn] = time.process_time() - start
    return tuple(sorted(seconds)[repeats // 2] for seconds in spent)


def measured(config: dict[str, Any], smaller: dict[str, dict[str, Any]], dtype: torch.dtype, repeats: int) -> None:
    torch.manual_seed(0)
    vlm = assemble(config, smaller).train()
    samples, size = build(config["data"]["train"], allow=("mm.", "data.")), config["data"]["batch_size"]
    groups = groups_of(vlm, {"*": 1e-3})
    optim: Optim = build(config["model"]["optim"])  # type: ignore[assignment]
    optimizer = optim.build(vlm, groups)
    low = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    first = iter(range(0, len(samples), size))

    def draw() -> list[Any]:
        start = next(first)
        return [samples[index] for index in range(start, start + size)]

    def collate() -> Batch:
        return vlm.processor.collate([vlm.processor.encode(sample) for sample in draw()])

    batch = collate()

    def backward(output: Callable[[], Tensor]) -> Step:
        def step() -> None:
            with low:
                result = output()
            result.float().sum().backward()
        return step

    def whole() -> None:
        with low:
            loss = token_loss(*vlm(batch))
        loss.total.backward()
        update()

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(vlm.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()

    with low, torch.no_grad():
        embedded, hidden = vlm.embed(batch), vlm.hidden(batch).flatten(0, 1)[batch.predict_at]
    embedded, hidden = embedded.float().requires_grad_(), hidden.float().requires_grad_()

    def vision() -> Tensor:
        return vlm.projector(vlm.vision(batch.pixels), vlm.vision.grid)

    def decoder() -> Tensor:
        return vlm.language(embedded, vlm.mask, batch.tokens, vlm.positions.assign(batch.tokens), batch.predict_at)

    def head() -> Tensor:
        return token_loss(vlm.language.head(hidden).float(), batch.targets, batch.target_weights).total

    drawing, data = cpu(repeats, draw, collate)
    step, prototype = cpu(repeats, whole, whole_by_hand(vlm, config["model"]["vision"]["init_args"], batch, low))
    seeing, decoding, plain, telling, updating = cpu(repeats, *map(backward, (vision, decoder, by_hand(vlm, batch, embedded), head)), update)
    parts = {"scenes and questions": drawing, "rows and batches": data - drawing, "vision": seeing, "decoder": decoding, "head and loss": telling,
             "clipping and optimiser": updating, "rest": step - seeing - decoding - telling - updating}

    count = sum(parameter.numel() for parameter in vlm.parameters())
    total = step + data
    print(f"\n{count / 1e6:.2f} M parameters in {str(dtype)[6:]}, batch {size}, rows of {batch.input_ids.shape[1]} tokens: "
          f"{1000 * total:.0f} ms of CPU a step with its data, {size / total:.0f} images/CPU-s ({size / step:.0f} without data)")
    for name, seconds in parts.items():
        print(f"  {name:26} {1000 * seconds:7.1f} ms  {seconds / total:6.1%}")
    print(f"  the decoder by hand        {1000 * plain:7.1f} ms  ×{decoding / plain:.2f} in transformers on the seam")
    print(f"  the whole step by hand     {1000 * prototype:7.1f} ms  {size / prototype:.0f} images/CPU-s without data; "
          f"ours makes ×{prototype / step:.2f} as many")


def by_hand(vlm: VLM, batch: Any, embedded: Tensor) -> Callable[[], Tensor]:
    """The decoder's arithmetic without transformers and without the seam: blocks in a loop over a mask made once."""
    shape = vlm.language.config
    blocks = nn.ModuleList(PlainBlock(shape.hidden_size, shape.intermediate_size, shape.num_attention_heads) for _ in range(shape.num_hidden_layers))
    half = shape.hidden_size // shape.num_attention_heads // 2
    frequencies = 10000.0 ** (-torch.arange(half) / half)

    def run() -> Tensor:
        mask = vlm.mask.dense(batch.tokens)
        angles = (vlm.positions.assign(batch.tokens)[..., None] * frequencies).repeat(1, 1, 2)[:, None]
        cos, sin = angles.cos(), angles.sin()
        x = embedded
        for block in blocks:
            x = block(x, mask, cos, sin)
        return rms_norm(x, x.shape[-1:])
    return run


def whole_by_hand(vlm: VLM, vision: dict[str, Any], batch: Batch, low: torch.autocast) -> Step:
    """Forward, backward and AdamW of the plain model of the same shape."""
    model = Prototype(vlm, vision)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)

    def step() -> None:
        with low:
            loss = model(batch, vlm.mask, vlm.positions)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
    return step


def with_the_program(config: Path, steps: int) -> None:
    """The same steps as users run them: Lightning, journal, progress and all."""
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = sys.argv[:1]  # Lightning reads it besides
        train.main(["fit", "--config", str(config), "--run_dir", f"{folder}/run", "--trainer.max_steps", str(2 * steps),
                    "--journal.every", str(steps), "--data.val", "null", "--data.workers", "0", "--checkpoints.every", "0"])
        row = json.loads((Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    print(f"\nby train.py, data included: {row['samples/cpu_s']:.0f} images/CPU-s, data {row['wait']:.1%} of the time, padding {row['pad']:.1%}, "
          f"MFU {row['mfu']:.1%}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    arguments.add_argument("--steps", type=int, default=20)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print(machine())
    print(f"the faster arithmetic here is {str(fastest_dtype('cpu'))[6:]}")
    for dtype in (torch.bfloat16, torch.float32):
        for changes in (SMALL, {}):
            measured(yaml.safe_load(given.config.read_text()), changes, dtype, given.steps)
    with_the_program(given.config, given.steps)
