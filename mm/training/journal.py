"""What a run reports: loss, learning rate and speed of every few steps, one row at a time, to every logger."""
import time
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn

from mm.training.flops import Work, peak_flops
from mm.training.jsonl import JSONLines
from mm.training.loader import Drawn

SUMS = ("loss", "weight", "correct", "tokens", "places", "samples", "labels", "unlabelled", "skipped", "flop")


class Journal(Callback):
    """A row every `every` optimiser steps, over all micro-batches since the row before; a row `val/...` after each validation.

    Rows hold: step, samples (of the run so far, all ranks), loss (nats per label, weighted), accuracy (of labelled tokens, teacher forced), lr
    (highest of the groups), gradient_norm (before clipping), tokens/s (text and vision), labels/s, samples/s, samples/cpu_s, pad (share of
    positions), wait (share of time spent on waiting for data), mfu, seconds and cpu_seconds (of this process, training only), and, where there
    are any, skipped samples and unlabelled batches.
    Speeds are per rank. Sums stay on the device until a row is due, so that no step waits for a number that nobody reads.
    """

    def __init__(self, every: int = 20) -> None:
        self.every = every
        self.sums = torch.zeros(len(SUMS), dtype=torch.float64)
        self.row: dict[str, float] = {}  # the last one, for the progress bar
        self.seconds = self.cpu_seconds = 0.0
        self.clock = self.cpu_clock = self.waited = 0.0
        self.work: Work | None = None
        self.peak = float("nan")
        self.validation = torch.zeros(3)

    # --- training ---------------------------------------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        dtype = torch.bfloat16 if "bf16" in str(trainer.precision) else torch.float32
        self.work, self.peak = Work(pl_module.vlm), peak_flops(pl_module.device, dtype)  # type: ignore[arg-type]
        self.step = trainer.global_step
        for logger in trainer.loggers:
            if isinstance(logger, JSONLines):
                logger.rewind(trainer.global_step)
        self.start_clock(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Drawn, batch_idx: int) -> None:
        self.count(batch, pl_module)
        if trainer.global_step != self.step:
            self.step = trainer.global_step
            if self.step % self.every == 0 or self.step == pl_module.steps:
                self.write(trainer, pl_module, batch.end)

    def count(self, drawn: Drawn, module: Any) -> None:
        losses, batch = module.losses, drawn.batch
        tokens, labels = batch.tokens.is_real.sum(), (batch.labels != -100).sum()
        flop = self.work.of(batch, int(tokens), int(labels)) if self.work is not None and tokens.device.type == "cpu" else 0.0
        counted = [losses.total.detach(), losses.weight, losses.correct, tokens, batch.input_ids.numel(), batch.input_ids.shape[0], labels,
                   losses.weight == 0, len(drawn.skipped), flop]
        self.sums = self.sums.to(tokens.device) + torch.stack([torch.as_tensor(x, dtype=torch.float64, device=tokens.device) for x in counted])
        for reason in drawn.skipped[:3]:
            rank_zero_warn(f"skipped: {reason}")

    def write(self, trainer: Trainer, module: Any, samples: int) -> None:
        wall, cpu, waited = self.stop_clock(trainer)
        total = dict(zip(SUMS, self.sums.tolist(), strict=True))
        if total["unlabelled"]:
            rank_zero_warn(f"{int(total['unlabelled'])} batches since the last row have no label and taught nothing; do their turns have answers?")
        weight = total["weight"] or float("nan")
        self.row = {
            "samples": samples, "loss": total["loss"] / weight, "accuracy": total["correct"] / weight,
            "lr": max(group["lr"] for group in trainer.optimizers[0].param_groups), "gradient_norm": getattr(module, "gradient_norm", float("nan")),
            "tokens/s": total["tokens"] / wall, "labels/s": total["labels"] / wall, "samples/s": total["samples"] / wall,
            "samples/cpu_s": total["samples"] / max(cpu, 1e-9), "pad": 1 - total["tokens"] / max(1.0, total["places"]), "wait": waited / wall,
            "mfu": self.flop(total) / wall / self.peak, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds,
            **{key: total[key] for key in ("skipped", "unlabelled") if total[key]}}
        for logger in trainer.loggers:
            logger.log_metrics(self.row, step=self.step)
        self.sums = torch.zeros_like(self.sums)
        self.start_clock(trainer)

    def flop(self, total: dict[str, float]) -> float:
        return total["flop"]

    # --- time -------------------------------------------------------------------------------------------------------------------------------------

    def start_clock(self, trainer: Trainer) -> None:
        self.clock, self.cpu_clock, self.waited = time.perf_counter(), time.process_time(), trainer.datamodule.loader.waited  # type: ignore[attr-defined]

    def stop_clock(self, trainer: Trainer) -> tuple[float, float, float]:
        """Seconds, CPU-seconds and seconds waited since the clock was started."""
        wall, cpu = time.perf_counter() - self.clock, time.process_time() - self.cpu_clock
        self.seconds, self.cpu_seconds = self.seconds + wall, self.cpu_seconds + cpu
        return max(wall, 1e-9), cpu, trainer.datamodule.loader.waited - self.waited  # type: ignore[attr-defined]

    # --- validation -------------------------------------------------------------------------------------------------------------------------------

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation, self.paused = torch.zeros(3), (time.perf_counter(), time.process_time())

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.validation = self.validation.to(outputs.device) + outputs

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total, weight, correct = trainer.strategy.reduce(self.validation, reduce_op="sum").tolist()  # type: ignore[union-attr]
        self.clock += time.perf_counter() - self.paused[0]  # the clock of training stood still
        self.cpu_clock += time.process_time() - self.paused[1]
        row = {"val/loss": total / weight, "val/accuracy": correct / weight} if weight else {}
        trainer.callback_metrics.update({key: torch.tensor(value) for key, value in row.items()})
        for logger in trainer.loggers:
            if row and not trainer.sanity_checking:
                logger.log_metrics(row, step=trainer.global_step)
        if row and trainer.state.fn == "validate":
            print(f"loss {row['val/loss']:.4f}, token accuracy {row['val/accuracy']:.4f}")

    on_test_start, on_test_batch_end, on_test_end = on_validation_start, on_validation_batch_end, on_validation_end

    # --- resume -----------------------------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums.cpu(), "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums, self.seconds, self.cpu_seconds = state_dict["sums"], state_dict["seconds"], state_dict["cpu_seconds"]
