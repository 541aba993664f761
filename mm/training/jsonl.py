"""Metrics as JSON lines: one object a row, on disk before the next step begins."""
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only


class JSONLines(Logger):
    """Appends to <folder>/metrics.jsonl, flushed line by line. A line that a kill cut short is dropped when the run resumes."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.path = self.folder / "metrics.jsonl"

    @property
    def name(self) -> str:
        return "jsonl"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        row = {"step": step} | {key: value.item() if hasattr(value, "item") else value for key, value in metrics.items() if key != "step"}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            torn = file.read(1) not in (b"", b"\n")  # a kill cut the last line short, and this run has not gone back to drop it
            file.write(b"\n" * torn + json.dumps({key: plain(value) for key, value in row.items()}).encode() + b"\n")

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The configuration is kept in config.yaml."""

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Forget rows after `step`: the run goes on from there and will write them again."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if step_of(line) <= step]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(partial, self.path)


def step_of(line: str) -> float:
    """Step of a row; infinite for a row that cannot be read."""
    try:
        return float(json.loads(line).get("step") or 0)
    except (ValueError, AttributeError):
        return math.inf


def plain(value: Any) -> Any:
    """NaN and infinity, which JSON does not have, become null. Numbers keep all their digits: runs are compared by them."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
