"""The end of a run is a model that can be loaded without it."""
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Callback


class Export(Callback):
    """Saves the trained model in the run directory, of dialogues as `model/`, of pictures as `pipeline/`; a run that was stopped has none."""

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            pl_module.save(Path(trainer.default_root_dir))
