"""How near inversions come to the picture that they began with, and what they cost.

    python train.py fit --config configs/edit/world.yaml
    python -m bench.inversion runs/edit

The pipeline of a run, on pictures of the run's own validation data and their captions, float32, one thread. dB: mean PSNR over pixels in [−1, 1],
clipped. Latents: root mean square distance. Codec: encoded and decoded, which nothing can beat. Passes: of the denoiser over one picture and one
prompt, to invert and to reconstruct. CPU: seconds for all pictures.
"""
import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.machine import machine
from mm.diffusion.denoiser import Denoiser
from mm.diffusion.denoisers import denoiser
from mm.diffusion.inversion import DDIM, Direct, EditFriendly, Inversion, NegativePrompt, NullText, reconstruct
from mm.diffusion.load import load
from mm.diffusion.text import Text


class Counted:
    """A denoiser that counts the rows which it is asked about."""

    def __init__(self, model: Denoiser) -> None:
        self.model, self.rows = model, 0

    def __call__(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        self.rows += len(latents)
        return self.model(latents, timestep, text)


def pictures(run: Path, count: int) -> tuple[Tensor, list[str]]:
    """[B, 3, H, W] in [−1, 1] and captions: what the first edits of the run's validation data begin with."""
    import yaml
    from jsonargparse import ArgumentParser

    from data.world import Edits
    parser = ArgumentParser()
    parser.add_subclass_arguments(Edits, "view")
    node = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data"]["val"]
    view: Any = parser.instantiate(parser.parse_object({"view": node})).view
    edits = [view.edit(index) for index in range(count)]
    return torch.stack([torch.tensor(edit.images[0]).permute(2, 0, 1) / 127.5 - 1 for edit in edits]), [edit.captions[0] for edit in edits]


def decibels(found: Tensor, expected: Tensor) -> float:
    errors = ((found.clamp(-1, 1) - expected) / 2).square().flatten(1).mean(1)
    return float((-10 * errors.log10()).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--pictures", type=int, default=8)
    asked = parser.parse_args()
    if not (asked.run / "pipeline").is_dir():
        parser.error(f"{asked.run}: found no pipeline/, which a finished run of configs/edit has; train one first")
    torch.set_num_threads(1)
    model = denoiser(load(asked.run / "pipeline"))
    shown, captions = pictures(asked.run, asked.pictures)
    z = model.encode(shown)
    text, negative = model.text(captions)
    schedule = model.schedule(asked.steps, z)
    print(machine())
    print(f"\n{asked.pictures} pictures, {asked.steps} steps, {schedule.kind}\n\n| | dB | latents | passes | CPU s |\n|---|---|---|---|---|")
    print(f"| codec | {decibels(model.decode(z), shown):.1f} | 0 | 0 | 0 |")
    rows: list[tuple[str, Callable[[], Inversion], float]] = [
        ("DDIM, guidance 1", DDIM, 1.0), (f"DDIM, guidance {asked.guidance:g}", DDIM, asked.guidance),
        ("negative prompt", NegativePrompt, asked.guidance), ("null text", lambda: NullText(asked.guidance), asked.guidance),
        ("edit-friendly", lambda: EditFriendly(asked.guidance), asked.guidance), ("direct", Direct, asked.guidance)]
    for name, make, guidance in rows:
        counted, began = Counted(model), time.process_time()
        found = make().invert(counted, schedule, z, text, negative)
        reached = reconstruct(counted, schedule, found, text, negative, guidance)[-1]
        spent, distance = time.process_time() - began, (reached - z).square().mean().sqrt()
        print(f"| {name} | {decibels(model.decode(reached), shown):.1f} | {distance:.3g} | {counted.rows / len(z):.0f} | {spent:.1f} |", flush=True)


if __name__ == "__main__":
    main()
