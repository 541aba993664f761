"""What a run reports: loss, learning rate and speed of every few steps, one row at a time, to every logger."""
import time
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn

from mm.training.jsonl import JSONLines
from mm.training.loader import Drawn
from mm.training.tally import Tally


class Journal(Callback):
    """A row every `every` optimiser steps, over all micro-batches since the row before; a row `val/...` after each validation.

    Rows hold: step, samples (of the run so far, all ranks), loss (nats per label, weighted; of pictures the mean squared error), lr (highest of the
    groups), gradient_norm (before clipping), samples/s, samples/cpu_s, wait (share of time spent on waiting for data), seconds and cpu_seconds (of
    this process, training only), skipped samples where there are any, and what the module's tally counts: of dialogues accuracy (of labelled tokens,
    teacher forced), tokens/s (text and vision), labels/s, pad (share of positions), mfu and unlabelled batches where there are any; of captioned
    pictures pictures/s.
    Speeds are per rank. Sums stay on the device until a row is due, so that no step waits for a number that nobody reads.
    """

    def __init__(self, every: int = 20) -> None:
        self.every = every
        self.sums = torch.zeros(0, dtype=torch.float64)  # of the tally; none yet
        self.row: dict[str, float] = {}  # the last one, for the progress bar
        self.seconds = self.cpu_seconds = 0.0
        self.clock = self.cpu_clock = self.waited = 0.0
        self.tally: Tally
        self.validation = torch.zeros(())

    # --- training ---------------------------------------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.tally = pl_module.tally
        self.tally.start(pl_module, "bf16" in str(trainer.precision))
        if not len(self.sums):
            self.sums = torch.zeros(len(self.tally.names), dtype=torch.float64)
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
        device = module.losses.total.device
        counted = [torch.as_tensor(number, dtype=torch.float64, device=device) for number in self.tally.count(module, drawn)]
        self.sums = self.sums.to(device) + torch.stack(counted)
        for reason in drawn.skipped[:3]:
            rank_zero_warn(f"skipped: {reason}")

    def write(self, trainer: Trainer, module: Any, samples: int) -> None:
        wall, cpu, waited = self.stop_clock(trainer)
        total = dict(zip(self.tally.names, self.sums.tolist(), strict=True))
        for warning in self.tally.warnings(total):
            rank_zero_warn(warning)
        self.row = {
            "samples": samples, "loss": total["loss"] / (total["weight"] or float("nan")),
            "lr": max(group["lr"] for group in trainer.optimizers[0].param_groups), "gradient_norm": getattr(module, "gradient_norm", float("nan")),
            "samples/s": total["samples"] / wall, "samples/cpu_s": total["samples"] / max(cpu, 1e-9), "wait": waited / wall,
            "seconds": self.seconds, "cpu_seconds": self.cpu_seconds, **({"skipped": total["skipped"]} if total["skipped"] else {}),
            **self.tally.row(total, wall)}
        for logger in trainer.loggers:
            logger.log_metrics(self.row, step=self.step)
        self.sums = torch.zeros_like(self.sums)
        self.start_clock(trainer)

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
        self.validation, self.paused = torch.zeros(()), (time.perf_counter(), time.process_time())

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.validation = self.validation.to(outputs.device) + outputs

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        sums = trainer.strategy.reduce(self.validation, reduce_op="sum").tolist()  # type: ignore[union-attr]
        self.clock += time.perf_counter() - self.paused[0]  # the clock of training stood still
        self.cpu_clock += time.process_time() - self.paused[1]
        row = pl_module.tally.validation(sums)
        trainer.callback_metrics.update({key: torch.tensor(value) for key, value in row.items()})
        for logger in trainer.loggers:
            if row and not trainer.sanity_checking:
                logger.log_metrics(row, step=trainer.global_step)
        if row and trainer.state.fn == "validate":
            print(", ".join(f"{name.removeprefix('val/')} {value:.4f}" for name, value in row.items()))

    on_test_start, on_test_batch_end, on_test_end = on_validation_start, on_validation_batch_end, on_validation_end

    # --- resume -----------------------------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums.cpu(), "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums, self.seconds, self.cpu_seconds = state_dict["sums"], state_dict["seconds"], state_dict["cpu_seconds"]
