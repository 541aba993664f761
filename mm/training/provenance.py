"""Where a checkpoint comes from: the whole configuration, the revision of the code, the versions of what it stands on."""
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import SaveConfigCallback

from mm.versions import revision, versions

KEY = "mm"  # our own key in the checkpoint: Lightning would merge `hyper_parameters` over the command line


def differences(before: Any, now: Any, key: str = "") -> list[str]:
    """`key: before → now` of each value in which two configurations differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(name for name in now if name not in before)]
        return [line for name in keys for line in differences(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))]
    return [] if before == now else [f"{key}: {before} → {now}"]


class Provenance(SaveConfigCallback, Callback):
    """Writes config.yaml into the run directory when a fit starts, and the same text, revision and versions into each checkpoint."""

    @property
    def text(self) -> str:
        return self.parser.dump(self.config, skip_none=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.is_global_zero:
            folder = Path(trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.yaml").write_text(self.text, encoding="utf-8")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = {"config": self.text, "revision": revision(), "versions": dict(versions())}


def changed_since(checkpoint: dict[str, Any], config: str) -> list[str]:
    """In what the configuration `config` differs from the one that wrote the checkpoint."""
    stored = checkpoint.get(KEY, {}).get("config", "")
    ignored = ("resume", "ckpt_path")
    return [line for line in differences(yaml.safe_load(stored) or {}, yaml.safe_load(config)) if not line.startswith(ignored)] if stored else []
