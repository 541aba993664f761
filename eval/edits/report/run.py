"""What a run of the embedded example holds for a reader: its training, and what became of the edits of the world."""
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

from eval.edits.scores import EditResult
from eval.edits.world import PLAIN, Kind, stem
from eval.frame.benchmark import Row
from eval.report.run import lines


@dataclass(frozen=True)
class Arm:
    """A row of the table. home: folder of its pictures."""

    result: EditResult
    path: Path

    @property
    def name(self) -> str:
        return str(self.result.recipe["name"])

    @property
    def home(self) -> Path:
        return self.path.parent / stem(self.name)

    @cached_property
    def rows(self) -> list[Row]:
        return list(lines(self.path.with_suffix(".rows.jsonl")))


@dataclass(frozen=True)
class Run:
    """arms: of each kind of edit, the one without control first. problems: a sentence on each file that could not be read."""

    folder: Path
    config: str
    metrics: tuple[Row, ...]
    arms: Mapping[str, tuple[Arm, ...]]
    problems: tuple[str, ...]

    @property
    def world(self) -> Path:
        return self.folder / "pipeline" / "eval" / "world"

    def controlled(self, kind: str) -> list[Arm]:
        return [arm for arm in self.arms.get(kind, ()) if arm.name != PLAIN]

    def plain(self, kind: str) -> Arm | None:
        return next((arm for arm in self.arms.get(kind, ()) if arm.name == PLAIN), None)


def read_run(folder: Path) -> Run:
    """ValueError where there is no such run, or nothing in it to report."""
    if not folder.is_dir():
        raise ValueError(f"there is no run directory {folder}; train one with {fit(folder)}")
    arms, problems = dict[str, tuple[Arm, ...]](), list[str]()
    for kind in get_args(Kind):
        found = []
        for path in sorted((folder / "pipeline/eval/world" / kind).glob("*.json")):
            try:
                found.append(Arm(EditResult(**json.loads(path.read_text(encoding="utf-8"))), path))
            except (ValueError, TypeError) as error:
                problems.append(f"{path} is no result of eval.edits: {error}")
        if found:
            arms[kind] = tuple(sorted(found, key=lambda arm: arm.name != PLAIN))
    config, metrics = folder / "config.yaml", tuple(lines(folder / "metrics.jsonl"))
    if not arms and not metrics and not problems:
        raise ValueError(f"{folder} holds neither metrics.jsonl nor pipeline/eval/world, so there is nothing to report; train with {fit(folder)}")
    return Run(folder, config.read_text(encoding="utf-8") if config.is_file() else "", metrics, arms, tuple(problems))


def fit(folder: Path) -> str:
    return f"python train.py fit --config configs/edit/world.yaml --run_dir {folder}"


def evaluation(folder: Path, recipes: str = "configs/edit/table", size: int = 64) -> str:
    return f"python -m eval.edits world --model {folder}/pipeline --recipes {recipes} --size {size}"
