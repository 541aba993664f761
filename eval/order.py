"""Order in time on clips of the procedural world: "which shape came first ?", after the question that Fei et al., "Video-CCAM", 2024, put to masks.

Two shapes appear, each in one frame. Who sees every frame but not their order knows both shapes and is right half of the time, whatever else he takes
from the frames: with the two frames exchanged the clip is as likely, and the other answer is right. So only what is above one half is order.
"""
from collections.abc import Iterable, Mapping, Sequence

from data.world import Clips
from data.world.clips import ORDINALS, SHAPES_IN_CLIPS
from eval.frame.benchmark import Benchmark, Item, Row, Scored
from eval.frame.intervals import Score, proportion
from mm.sample import PLACEHOLDERS


class Order(Benchmark):
    """Questions on test clips.

    Args:
        size: clips, one question each. seed: of the clips.
        frames: of a clip; another number than in training asks whether the sense of order carries over.
    """

    def __init__(self, size: int = 500, frames: int = 6, seed: int = 0, max_new_tokens: int = 4) -> None:
        self.size = size
        self.frames = frames
        self.seed = seed
        self.max_new_tokens = max_new_tokens

    def items(self) -> list[Item]:
        clips = Clips("test", self.size, self.seed, self.frames)
        found = []
        for index in range(self.size):
            clip = clips.clip(index)
            row = {"asked": ORDINALS[clip.asked], "shapes": [seen.shape for seen in clip.appearances], "label": clip.answer,
                   "frames": [seen.frame for seen in clip.appearances]}
            name = f"{clips.name(index)}-{self.frames}"
            found.append(Item(name, name, lambda index=index: clips[index].media,  # type: ignore[misc]
                              f"{PLACEHOLDERS['clip']}\n{clip.question}", row))
        return found

    def judge(self, row: Row, parser: str) -> Row:
        prediction = parse(row["answer"])
        return {"prediction": prediction, "named": prediction in row["shapes"], "correct": prediction == row["label"]}

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return score(rows)

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        return {"answers": [{key: row[key] for key in ("id", "asked", "shapes", "label", "answer")} for row in rows]}


def parse(text: str) -> str | None:
    """The shape, where the answer is one of the six and nothing else but a full stop. These questions are our own, so the reader is a strict one."""
    word = text.strip().removesuffix(".").strip().lower()
    return word if word in SHAPES_IN_CLIPS else None


def score(rows: Sequence[Row]) -> Scored:
    """accuracy: .50 for the best that is blind to order. named: answers that are one of the two shapes, right or not. ordered: right ones among them,
    so that order can be told from recognising shapes. Rows: asked, prediction, named, correct."""
    named = [row for row in rows if row["named"]]
    scores: dict[str, Score] = {"accuracy": proportion(sum(row["correct"] for row in rows), len(rows))}
    for asked in ORDINALS:
        part = [row for row in rows if row["asked"] == asked]
        scores[f"{asked}/accuracy"] = proportion(sum(row["correct"] for row in part), len(part))
    scores["named"] = proportion(len(named), len(rows))
    scores["ordered"] = proportion(sum(row["correct"] for row in named), len(named))
    return Scored(scores, len(rows), sum(row["prediction"] is None for row in rows))
