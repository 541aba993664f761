"""The world's edit benchmark: a model draws a scene from its caption and edits it to another in which one object has changed colour or shape.

Both pictures are recognised exactly, so whatever the edit did is counted. Edits are judged where the source is right: what an edit of a wrong
picture should be, nobody can say.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from data.world.edits import Edit, Edits
from eval.edits.editor import Edited, Editor, Request
from eval.edits.journal import Journal
from eval.edits.judging import Recogniser, judge
from eval.edits.running import Runner, Task
from eval.edits.scores import EditResult, Scores, mean
from eval.frame.benchmark import Row
from eval.frame.intervals import proportion

Kind = Literal["colour", "shape"]
METRICS = ("edit_recognised", "other_kept", "other_mse", "background_mse", "target_iou", "recoloured")
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
        from eval.frame.result import write_files

        results = []
        for kind, asked in self.pairs.items():
            for number, arm in enumerate(arms):
                began = clock()
                rows = self._rows(kind, asked, arm)
                spent = clock() - began
                judged = [(PLAIN, {"name": PLAIN}, [_without_control(row) for row in rows])] if number == 0 else []
                for name, recipe, each in [*judged, (arm.name, arm.recipe, [_controlled(row) for row in rows])]:
                    result = EditResult.of(f"world/{kind}", scores(each), each, remarks(each), {**self.settings, "kind": kind}, recipe, self.config,
                                           spent)
                    write_files(self.out / kind, stem(name), {"rows": each})
                    result.save(self.out / kind / f"{stem(name)}.json")
                    results.append(result)
        return results

    def _rows(self, kind: Kind, asked: Sequence[Pair], arm: Arm) -> list[Row]:
        home = self.out / kind / stem(arm.name)
        known = {each.id: each for each in asked}
        tasks = [Task(each.id, lambda each=each: request(each), described(each)) for each in asked]  # type: ignore[misc]

        def look(task: Task, made: Edited) -> Row:
            edit = known[task.id].edit
            controlled, without = (judge(made.source, picture, edit, self.recognise) for picture in (made.edited, made.plain))
            return {"controlled": controlled, "plain": without}

        decides = {**self.settings, "batch_size": self.batch_size, "items": list(known), "recipe": arm.recipe, "config": self.config}
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
    return {"source_right": proportion(len(right), len(rows)), **{metric: mean(right, metric) for metric in METRICS}}


def remarks(rows: Sequence[Row]) -> list[str]:
    right = sum(row["source_right"] for row in rows)
    return [] if right == len(rows) else [f"judged where the source is exactly right: {right} of {len(rows)}"]
