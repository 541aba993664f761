"""The world's edit benchmark: a model draws a scene from its caption and edits it to another in which one object has changed colour or shape.

Both pictures are recognised exactly, so whatever the edit did is counted. Edits are judged where the source is right: what an edit of a wrong
picture should be, nobody can say.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from data.world.edits import Edit, Edits
from eval.edits.editor import Edited, Editor, Request
from eval.edits.identity import digest
from eval.edits.journal import Journal
from eval.edits.judging import Recogniser, judge
from eval.edits.running import Runner, Task
from eval.edits.scores import EditResult, Scores, finite, mean
from eval.frame.benchmark import Row
from eval.frame.intervals import proportion
from eval.frame.paired import difference
from eval.frame.result import write_files

Kind = Literal["colour", "shape"]
METRICS = ("other_kept", "other_mse", "background_mse", "target_iou", "recoloured")
PLAIN = "no control"


@dataclass(frozen=True)
class Pair:
    """id: unique. prompt, to: its captions. seed: of the noise."""

    id: str
    edit: Edit
    prompt: str
    to: str
    seed: int


def pairs(kind: Kind, size: int, data: Edits) -> list[Pair]:
    """The first `size` edits of that kind in which the word that changes stands in its caption once, before and after; of others, no word could say
    which object is meant. ValueError where the data have too few."""
    if kind not in get_args(Kind) or size < 1:
        raise ValueError(f"edits of the world are of the kind {' or '.join(get_args(Kind))}, and 1 or more of them; got {kind!r} and {size}")
    found = list[Pair]()
    for index in range(len(data)):
        edit = data.edit(index)
        if edit.attribute != kind:
            continue
        prompt, to = (turn.answer for turn in data[index].turns)
        if all(caption.split().count(word) == 1 for caption, word in zip((prompt, to), edit.words, strict=True)):
            found.append(Pair(data.name(index), edit, prompt, to, index))
            if len(found) == size:
                return found
    raise ValueError(f"only {len(found)} of {size} edits of the kind {kind} among {len(data)} items of the {data.split} split; ask for fewer, or "
                     "raise --data.size")


@dataclass(frozen=True)
class Arm:
    """One row of the table. name: for readers. recipe: what it says of itself. editor: under that recipe."""

    name: str
    recipe: Row
    editor: Editor


@dataclass(frozen=True)
class WorldBenchmark:
    """settings: what decides the edits, besides the recipe. out: folder of everything."""

    pairs: dict[Kind, list[Pair]]
    recognise: Recogniser
    settings: Row
    config: Row
    out: Path
    batch_size: int = 8
    overwrite: bool = False
    say: Callable[[str], None] = lambda what: None

    def run(self, arms: Sequence[Arm], clock: Callable[[], float]) -> list[EditResult]:
        """A result a kind and row of the table, the first row of a kind without control. Each is written to out/<kind>/<arm>.json, with its rows."""
        results = []
        for kind, asked in self.pairs.items():
            for number, arm in enumerate(arms):
                began = clock()
                rows = self._rows(kind, asked, arm)
                spent = clock() - began
                without, controlled = [_without_control(row) for row in rows], [_controlled(row) for row in rows]
                if number == 0:
                    results.append(self._result(kind, PLAIN, {"name": PLAIN}, without, scores(without), spent))
                results.append(self._result(kind, arm.name, arm.recipe, controlled, scores(controlled) | gains(controlled, without), spent))
        return results

    def _result(self, kind: Kind, name: str, recipe: Row, rows: Sequence[Row], found: Scores, seconds: float) -> EditResult:
        result = EditResult.of(f"world/{kind}", found, rows, remarks(rows), {**self.settings, "kind": kind}, recipe, self.config, seconds)
        write_files(self.out / kind, stem(name), {"rows": rows})
        result.save(self.out / kind / f"{stem(name)}.json")
        return result

    def _rows(self, kind: Kind, asked: Sequence[Pair], arm: Arm) -> list[Row]:
        home = self.out / kind / stem(arm.name)
        known = {each.id: each for each in asked}
        tasks = [Task(each.id, lambda each=each: request(each), described(each)) for each in asked]  # type: ignore[misc]

        def look(task: Task, made: Edited) -> Row:
            edit = known[task.id].edit
            controlled, without = (judge(made.source, picture, edit, self.recognise) for picture in (made.edited, made.plain))
            return {"controlled": controlled, "plain": without}

        items = digest([{"id": each.id, **described(each)} for each in asked])
        decides = {**self.settings, "batch_size": self.batch_size, "items": items, "recipe": arm.recipe, "config": self.config}
        journal = Journal(home / "edits.jsonl", decides, self.overwrite)
        return Runner(arm.editor, look, home, self.batch_size, say=lambda what: self.say(f"{kind}, {arm.name}: {what}")).run(tasks, journal)


def request(pair: Pair) -> Request:
    """Nothing but captions: the model draws its own source. The words are the two that differ."""
    return Request(pair.prompt, pair.to, None, pair.seed, pair.edit.words)


def described(pair: Pair) -> Row:
    return {"kind": pair.edit.attribute, "before": pair.prompt, "after": pair.to, "words": list(pair.edit.words), "seed": pair.seed}


def stem(name: str) -> str:
    """The name of an arm as that of its files."""
    return name.replace(" ", "-").replace("/", "-")


def _controlled(row: Row) -> Row:
    return {**{key: value for key, value in row.items() if key not in ("controlled", "plain")}, **row["controlled"]}


def _without_control(row: Row) -> Row:
    """The same of the target caption without control, whose picture and verdict every recipe's row has."""
    return {**{key: value for key, value in row.items() if key not in ("controlled", "plain")}, **row["plain"],
            "files": {**row["files"], "edited": row["files"]["plain"], "mask": None, "maps": {}}}


def scores(rows: Sequence[Row]) -> Scores:
    """Sources that are right, over all edits; everything else over those edits, with intervals over pictures."""
    right = [row for row in rows if row["source_right"]]
    recognised = sum(row["edit_recognised"] for row in right)
    return {"source_right": proportion(len(right), len(rows)), "edit_recognised": proportion(recognised, len(right)),
            **{metric: mean(right, metric) for metric in METRICS}}


def gains(rows: Sequence[Row], without: Sequence[Row]) -> Scores:
    """"gain/<metric>": the mean of each metric less that without control, over the edits in which both have it, if any; the bootstrap draws
    pictures."""
    found = {}
    for metric in ("edit_recognised", *METRICS):
        both = [(row["id"], row[metric], other[metric]) for row, other in zip(rows, without, strict=True)
                if finite(row.get(metric)) and finite(other.get(metric))]
        if not both:
            continue
        with_it, without_it = (np.array([[float(each[place]), 1.0] for each in both]) for place in (1, 2))
        found[f"gain/{metric}"] = difference([each[0] for each in both], without_it, with_it, lambda s: s[..., 0] / s[..., 1])
    return found


def remarks(rows: Sequence[Row]) -> list[str]:
    right = sum(row["source_right"] for row in rows)
    return [] if right == len(rows) else [f"judged where the source is exactly right: {right} of {len(rows)}"]
