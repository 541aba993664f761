"""TrueMICL: Chen et al., "True Multimodal In-Context Learning Needs Attention to the Visual Context", COLM 2025 (venue from memory).

A few pictures with their answers, then a picture to be answered likewise. The answer follows from the demonstrations' pictures only, so a model that
reads no more than their text gains nothing. What it owes to the pictures is its accuracy minus that with black demonstrations: `gain`.
"""
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval.frame.benchmark import Benchmark, Item, Row, Scored
from eval.frame.choices import grouped, share
from eval.frame.intervals import Score
from eval.frame.paired import difference
from eval.incontext import folders, world
from eval.incontext.episode import CONTROLS, Control, Prompted
from eval.incontext.reading import exactly, keywords, plain


class TrueMICL(Benchmark):
    """Episodes of the procedural world, or of the user's folders.

    Args:
        data: "world", or a folder with a folder a task, of `support.json` and `query.json`: arrays of {image, question, answer}, perhaps with `id`;
            image is one picture or a list of them. A query may name its demonstrations, `support: [id, ...]`. The release could not be had: these
            fields are our reading of its description.
        images: folder of the pictures, by default that of the task.
        shots: demonstrations, drawn for each query that names none. instruction: text before them. Both of files only.
        controls: of "blank" (black demonstrations), "shuffled" (their pictures in random order) and "wordless" (their text left out), those that are
            asked beside the episodes as they are. demos: numbers of demonstrations on the world. size: episodes of the world. seed: of what is drawn.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "strict")

    def __init__(
        self, data: str = "world", images: str | None = None, shots: int = 4, instruction: str = "", controls: Sequence[Control] = CONTROLS[1:],
        demos: Sequence[int] = (2, 4), size: int = 500, seed: int = 0, max_new_tokens: int | None = None,
    ) -> None:
        if shots < 1:
            raise ValueError(f"TrueMICL learns from demonstrations: shots is 1 or more, got {shots}")
        self.data = data
        self.images = images
        self.shots = shots
        self.instruction = instruction
        self.controls = tuple(controls)
        self.demos = tuple(demos)
        self.size = size
        self.seed = seed
        self.max_new_tokens = max_new_tokens or (8 if data == "world" else 32)

    def items(self) -> list[Item]:
        asked = tuple(dict.fromkeys(("none", *self.controls)))
        if self.data == "world":
            found = world.load(self.size, self.seed, self.demos, asked)
        else:
            found = folders.load(Path(self.data), self.images, self.shots, self.seed, self.instruction, asked)
        return [_item(each) for control in asked for each in found if each.control == control]

    def judge(self, row: Row, parser: str) -> Row:
        read = exactly if self.data == "world" or parser == "strict" else keywords
        return verdict(row, read)

    def cluster(self, row: Row) -> str:
        """A gain is of one episode under two controls."""
        return str(row["episode"])

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return score(rows)

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        return {f"{control}.answers": [{"id": row["episode"], "task": row["task"], "label": row["label"], "answer": row["answer"]} for row in part]
                for control, part in grouped(rows, "control").items()}


def _item(each: Prompted) -> Item:
    """Its pictures are those of this control only, so they have a name of their own."""
    row = {"control": each.control, "episode": each.name, "task": each.task, "label": each.label, "known": list(each.known), "last": each.last}
    name = f"{each.name}/{each.control}"
    return Item(name, name, each.media, each.question, row, split=each.control)


# --- parse and score


def verdict(row: Row, read: Callable[[str, Sequence[str]], list[str]]) -> Row:
    """found: the answers of the task that the reply gives; right where the label is among them."""
    found = read(row["answer"], row["known"])
    said = [plain(answer) for answer in found]
    return {"found": found, "matched": bool(found), "correct": plain(row["label"]) in said, "copied": plain(row["last"]) in said}


def score(rows: Sequence[Row]) -> Scored:
    """accuracy, also a control and a task; gain: accuracy minus that of a control on the same episodes, of "blank" the true visual gain; copied:
    replies that are the last demonstration's answer. Intervals draw episodes. unparsed: replies that give no answer of the task.

    Rows: control, episode, task, found, matched, correct, copied.
    """
    controls = grouped(rows, "control")
    whole = controls.pop("none", [])
    scores = {"accuracy": _accuracy(whole), "copied": share([row["copied"] for row in whole], [row["episode"] for row in whole])}
    for control, part in controls.items():
        scores |= {f"{control}/accuracy": _accuracy(part), "gain" if control == "blank" else f"{control}/gain": gain(whole, part)}
    tasks = grouped(whole, "task")
    for task, part in tasks.items() if len(tasks) > 1 else ():
        scores[f"{task}/accuracy"] = _accuracy(part)
        if "blank" in controls:
            scores[f"{task}/gain"] = gain(part, [row for row in controls["blank"] if row["task"] == task])
    several = sum(len(row["found"]) > 1 for row in rows)
    remarks = [f"{name} is undefined: no episodes" for name, value in scores.items() if math.isnan(value.value)]
    remarks += [f"{several} of {len(rows)} replies give several answers, and are right if one of them is; see --parser strict"] * bool(several)
    return Scored(scores, len(rows), sum(not row["matched"] for row in rows), tuple(remarks))


def gain(whole: Sequence[Row], control: Sequence[Row]) -> Score:
    """Accuracy minus that of a control, over the episodes that both have, NaN without any; the bootstrap draws the same episodes for both."""
    other = {row["episode"]: row["correct"] for row in control}
    both = [(row["episode"], row["correct"], other[row["episode"]]) for row in whole if row["episode"] in other]
    if not both:
        return Score(math.nan, math.nan, math.nan, 0)
    counts = np.array([[[right, 1], [beside, 1]] for _, right, beside in both], dtype=np.float64).reshape(-1, 2, 2)
    return difference([name for name, _, _ in both], counts[:, 1], counts[:, 0], lambda s: s[..., 0] / s[..., 1])


def _accuracy(rows: Sequence[Row]) -> Score:
    return share([row["correct"] for row in rows], [row["episode"] for row in rows])
