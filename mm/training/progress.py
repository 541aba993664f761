"""One line that says how a run is doing."""
import sys
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from mm.training.journal import Journal

SHOWN = {"loss": ".3f", "tokens/s": ".0f", "samples/s": ".1f", "pictures/s": ".1f", "pad": ".0%", "wait": ".1%", "mfu": ".1%"}


class Progress(ProgressBar):
    """A tqdm bar over optimiser steps with the numbers of the journal's last row; in a file or pipe, a line every ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: tqdm[Any] | None = None
        self.is_enabled = True

    def disable(self) -> None:
        self.is_enabled = False

    def enable(self) -> None:
        self.is_enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self.is_enabled:
            live = sys.stderr.isatty()
            self.bar = tqdm(total=pl_module.steps, initial=trainer.global_step, desc="training", unit="step", dynamic_ncols=live, file=sys.stderr,
                            mininterval=0.2 if live else 10.0, miniters=None if live else 1, smoothing=0.05)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.bar is None or trainer.global_step == self.bar.n:
            return
        row = next((callback.row for callback in trainer.callbacks if isinstance(callback, Journal)), {})  # type: ignore[attr-defined]
        self.bar.set_postfix_str(", ".join(f"{key} {row[key]:{how}}" for key, how in SHOWN.items() if key in row), refresh=False)
        self.bar.update(trainer.global_step - self.bar.n)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
