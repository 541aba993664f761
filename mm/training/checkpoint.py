"""Checkpoints that survive whatever happens while they are written, and say in one sentence why they cannot be read."""
import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn

from mm.models.save import fill, read, unique

ADDED = ("reweight.", "streams.")  # what the names of the parameters of rules and streams begin with


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, read, or used for this model."""


class AtomicIO(TorchCheckpointIO):
    """Writes beside the old file and renames: a full disk or a kill leaves the previous checkpoint as it was. Reads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None) -> None:
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            left = f"the previous {target} is untouched" if target.exists() else "there is no earlier one"
            raise CheckpointError(f"the checkpoint could not be written to {target}: {error}; {left}. Make room, then resume from it.") from error

    def load_checkpoint(self, path: str | os.PathLike[str], map_location: Any = "cpu", weights_only: bool | None = True, **_: Any) -> dict[str, Any]:
        return read_checkpoint(path, map_location)


def read_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """The content of a checkpoint file; never runs code from it. Raises CheckpointError."""
    if not Path(path).is_file():
        raise CheckpointError(f"there is no checkpoint {path}.")
    if not is_zipfile(path):
        raise CheckpointError(f"{path} is not a checkpoint: it is cut off, or a plain pickle, which could run code and is not opened.")
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        found = str(error).partition("Unsupported global: GLOBAL ")[2].split(" ")[0] or "an object"
        raise CheckpointError(f"{path} holds {found}, which is neither tensor nor plain value; loading it could run code: not opened.") from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({str(error).splitlines()[0]}); use an earlier checkpoint.") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise CheckpointError(f"{path} is no training checkpoint: it has no 'state_dict'. For weights alone use model.init_from.")
    return content


def check_fits(checkpoint: Mapping[str, Any], module: nn.Module) -> None:
    """Raise CheckpointError, with a short list, unless the checkpoint is of this architecture and trained these parameters."""
    check_weights(checkpoint["state_dict"], module.state_dict(), "the checkpoint")
    before, now = set(checkpoint.get("trained", ())), {name for group in getattr(module, "groups", ()) for name in group.names}
    if before and now and before != now:
        raise CheckpointError(
            f"the checkpoint trained other parameters than model.train asks for ({few(before - now)} only then, {few(now - before)} only now); "
            "what trains cannot change within a run: start a new one with model.init_from.")


def check_weights(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    """Raise CheckpointError naming what is missing, unexpected or of another shape in `found`."""
    shapes = [f"{name} {list(found[name].shape)} instead of {list(wanted[name].shape)}"
              for name in wanted if name in found and found[name].shape != wanted[name].shape]
    problems = {"missing": wanted.keys() - found.keys(), "unexpected": found.keys() - wanted.keys(), "of another shape": shapes}
    if any(problems.values()):
        said = "; ".join(f"{len(names)} {what}: {few(names)}" for what, names in problems.items() if names)
        raise CheckpointError(f"{source} is of another architecture than the configuration: {said}. Use the configuration that it was trained with.")


def few(names: Iterable[str], count: int = 3) -> str:
    """The first names and how many more there are."""
    ordered = sorted(names)
    return (", ".join(ordered[:count]) + (f" and {len(ordered) - count} more" if len(ordered) > count else "")) or "none"


def load_weights(model: nn.Module, source: Path) -> None:
    """Start `model` with the weights of a finished run: its directory, its model directory, or the .safetensors file.

    Rules that train, and streams, may be new to it: where the run had none, they begin as they are made, without effect.
    """
    path = next((p for p in (source, source / "model.safetensors", source / "model" / "model.safetensors") if p.is_file()), None)
    if path is None:
        raise CheckpointError(f"model.init_from: no model.safetensors in {source} or {source / 'model'}; a run writes it when it has finished.")
    found = read(path)
    absent = tuple(kind for kind in ADDED if not any(name.startswith(kind) for name in found))
    fill(model, {name: value for name, value in unique(model).items() if name.startswith(absent)} | found, path)


class Checkpoints(Checkpoint):
    """`checkpoints/last.ckpt` every `every` optimiser steps and at the end; every `keep` steps also `step_<n>.ckpt`, for good (0: none)."""

    def __init__(self, every: int = 500, keep: int = 0) -> None:
        self.every, self.keep, self.saved = every, keep, -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        trainer.strategy.checkpoint_io = AtomicIO()

    def save(self, trainer: Trainer) -> Path:
        path = Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
        if self.saved != trainer.global_step:
            trainer.save_checkpoint(path)
            self.saved = trainer.global_step
        return path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.saved = trainer.global_step  # a step is saved when it has been made, not when it has been resumed

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = trainer.global_step
        if step == self.saved or trainer.fit_loop._should_accumulate():
            return
        if self.keep and step % self.keep == 0:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / f"step_{step}.ckpt")
        if self.every and step % self.every == 0:
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)
