"""The random generators in the checkpoint: dropout after a resume is the dropout there would have been."""
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from mm.training.randomness import generator_states, restore_generators


class Randomness(Callback):
    """Saves the generators with each checkpoint and puts them back right before the first batch, after everything that draws while a run starts."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return generator_states()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stored = state_dict

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.stored is not None:
            restore_generators(self.stored)
            self.stored = None
