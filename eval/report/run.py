"""What a run directory holds for a reader: configuration, metrics, results and the answers behind them."""
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eval.frame.benchmark import Row
from eval.frame.result import ARRAY, Result


@dataclass(frozen=True)
class Filed:
    """A result and where it lies."""

    path: Path
    result: Result

    @property
    def view(self) -> str:
        return str(self.result.settings.get("view", "full"))

    @property
    def lever(self) -> str | None:
        return Path(str(self.result.lever.get("file", "lever"))).stem if self.result.lever else None

    @cached_property
    def rows(self) -> list[Row]:
        """Every item with answer, truth and verdict; empty where that file is missing or damaged."""
        return list(lines(self.path.with_suffix(".rows.jsonl")))


@dataclass(frozen=True)
class Run:
    """config: text of config.yaml, "" without one. metrics: rows of metrics.jsonl. results: every result file. problems: a sentence on each file that
    could not be read."""

    folder: Path
    config: str
    metrics: tuple[Row, ...]
    results: tuple[Filed, ...]
    problems: tuple[str, ...]

    def result(self, benchmark: str, view: str = "full", lever: str | None = None) -> Filed | None:
        """The result to show: over all items rather than some, read by the official parser rather than another."""
        found = [filed for filed in self.results if (filed.result.benchmark, filed.view, filed.lever) == (benchmark, view, lever)]
        return min(found, key=lambda filed: (filed.result.settings.get("limit") is not None, filed.result.parser != "official"), default=None)

    @property
    def levers(self) -> list[str]:
        return sorted({filed.lever for filed in self.results if filed.lever})


def read_run(folder: Path) -> Run:
    """Raises ValueError where there is no such run directory, or nothing in it to report."""
    if not folder.is_dir():
        raise ValueError(f"there is no run directory {folder}; train one with python train.py fit --config configs/demo.yaml --run_dir {folder}")
    results, problems = [], []
    for path in sorted((folder / "eval").glob("*.json")):
        if path.name.endswith(ARRAY):
            continue
        try:
            results.append(Filed(path, Result.load(path)))
        except ValueError as error:
            problems.append(str(error))
    config = folder / "config.yaml"
    metrics = tuple(lines(folder / "metrics.jsonl"))
    if not results and not metrics and not (folder / "model").is_dir():
        raise ValueError(f"{folder} holds neither metrics.jsonl nor model/ nor eval/*.json, so there is nothing to report; is it a run directory?")
    return Run(folder, config.read_text(encoding="utf-8") if config.is_file() else "", metrics, tuple(results), tuple(problems))


def lines(path: Path) -> Iterator[Row]:
    """Objects of a JSON-lines file; none where there is no file, and a line that a kill cut short is left out."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").split("\n"):  # not splitlines, which also parts at U+2028, and answers hold it as it is
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row
