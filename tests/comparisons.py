"""Results with their answers as an evaluation writes them, of models that answer by rule."""
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eval.chair import CHAIR
from eval.frame.benchmark import Benchmark, Item, Row
from eval.frame.result import Result, write_files
from eval.pope import POPE

Rule = Callable[[Item], str]


def filed(
    folder: Path, stem: str, name: str, benchmark: Benchmark, rule: Rule, parser: str = "official", p_yes: Callable[[Item], float] | None = None,
    lever: Row | None = None, settings: Row | None = None, change: Callable[[list[Row]], list[Row]] = list,
) -> Path:
    """Writes <stem>.json and <stem>.rows.jsonl. p_yes: of the answer, recorded as log-probabilities. settings: besides the benchmark's own.
    change: to the rows that are written."""
    rows = []
    for item in benchmark.items():
        p = None if p_yes is None else p_yes(item)
        logp = None if p is None else {"no": math.log(1 - p), "yes": math.log(p)}
        row: dict[str, Any] = {**item.row, "id": item.id, "picture": item.picture, "answer": rule(item), "logp": logp, "tokens": None}
        rows.append({**row, **benchmark.judge(row, parser)})
    decoding = {"greedy": True, "num_beams": 1, "max_new_tokens": benchmark.max_new_tokens}
    stated = {**benchmark.settings(), "view": "full", "limit": None, "batch_size": 16, "decoding": decoding, **(settings or {})}
    result = Result.of(name, benchmark.aggregate(rows), parser, stated, lever, {"model": {"name": "rule", "weights": "none"}}, 1.0)
    folder.mkdir(parents=True, exist_ok=True)
    result.save(folder / f"{stem}.json")
    write_files(folder, stem, {"rows": change(rows)})
    return folder / f"{stem}.json"


def right_but(rate: float, seed: int) -> Rule:
    """Right, but for a share of the answers, drawn by seed and item."""
    return lambda item: item.row["label"] if random.Random(f"{seed} {item.id}").random() >= rate else "no" if item.row["label"] == "yes" else "yes"


def pope(size: int = 12) -> POPE:
    return POPE(size=size, k=1)


def named(objects: Sequence[str]) -> str:
    return "there is " + " , ".join(f"a red {name}" for name in objects) + " ."


def chair(size: int = 12) -> CHAIR:
    return CHAIR(size=size)


def relabelled(rows: list[Row]) -> list[Row]:
    """Another truth of the first item."""
    return [{**rows[0], "label": "no" if rows[0]["label"] == "yes" else "yes"}, *rows[1:]]

