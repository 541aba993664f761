"""Where a checkpoint comes from: the whole configuration, the revision of the code, the versions of what it stands on."""
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import SaveConfigCallback

KEY = "mm"  # our own key in the checkpoint: Lightning would merge `hyper_parameters` over the command line
PACKAGES = ("mm-attention", "torch", "lightning", "transformers", "timm", "open_clip_torch", "jsonargparse", "numpy")


@cache
def versions() -> dict[str, str]:
    """Package → version of everything that can change a result."""
    found = {"python": python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def revision() -> str:
    """Git commit of the working tree, with + if files under version control have been changed; empty outside a repository."""
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


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
