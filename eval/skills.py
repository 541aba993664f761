"""What a model of the procedural world can do beyond naming shapes: bind colours, count, relate, and compose what it never saw together.

Attribute, number, pair and relation questions on test scenes; then three splits after gCOG (Ito et al., "On the generalization capacity of neural
networks during generic multimodal reasoning", ICLR 2024): systematic (colour-shape pairs that training never shows), distractor (eight objects),
productive (conjunctions). Each question is as often true as false, so chance is one half.
"""
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from data.world.splits import Name
from eval.frame.benchmark import Benchmark, Item, Row, Scored
from eval.frame.calibration import WORLD, calibration
from eval.frame.intervals import Score, proportion
from eval.frame.world import asked
from eval.parsers import reader

KINDS: Mapping[str, tuple[Name, str]] = {  # metric -> split of the world, kind of question
    "existence": ("test", "existence"), "attribute": ("test", "attribute"), "number": ("test", "number"), "pair": ("test", "pair"),
    "relation": ("test", "relation"), "systematic": ("systematic", "pair"), "distractor": ("distractor", "pair"),
    "productive": ("productive", "conjunction")}


class Skills(Benchmark):
    """Yes/no questions of every kind.

    Args:
        size: scenes a split; one that can be asked a kind is asked it once truly and once falsely. seed: of the scenes.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval", "vlmevalkit", "strict")

    def __init__(self, size: int = 500, seed: int = 0, max_new_tokens: int = 8) -> None:
        self.size = size
        self.seed = seed
        self.max_new_tokens = max_new_tokens

    def items(self) -> list[Item]:
        found: list[Item] = []
        for kind, (split, task) in KINDS.items():
            found += [Item(
                f"{kind}/{picture.number}/{question.answer}", picture.name, picture.media, f"<image>\n{question.text}",
                {"kind": kind, "text": question.text, "label": question.answer}, WORLD, picture.context, kind)
                for picture, question in asked(task, self.size, split, self.seed)]
        return found

    def judge(self, row: Row, parser: str) -> Row:
        prediction = parse(row["answer"], parser)
        return {"prediction": prediction, "correct": prediction == row["label"]}

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return score(rows)

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        return {"answers": [{key: row[key] for key in ("id", "picture", "text", "label", "answer")} for row in rows]}


def parse(text: str, parser: str = "official") -> str | None:
    """"yes", "no" or None. These questions are our own, so the official reader is the strict one."""
    return reader("strict" if parser == "official" else parser, "yes_no")(text)


def score(rows: Sequence[Row]) -> Scored:
    """Accuracy and yes-ratio a kind, and `calibration` where log-probabilities are known. An unparsed answer is wrong and not a yes.

    Rows: kind, picture, label, prediction, logp.
    """
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row["kind"], []).append(row)
    scores: dict[str, Score] = {}
    for kind, part in kinds.items():
        scores[f"{kind}/accuracy"] = proportion(sum(row["prediction"] == row["label"] for row in part), len(part))
        scores[f"{kind}/yes_ratio"] = proportion(sum(row["prediction"] == "yes" for row in part), len(part))
        sure = calibration([row.get("logp") for row in part], [row["label"] == "yes" for row in part], [row["picture"] for row in part])
        scores |= {f"{kind}/{name}": value for name, value in sure.items()}
    remarks = tuple(f"{name} is undefined: no questions" for name, value in scores.items() if math.isnan(value.value))
    return Scored(scores, len(rows), sum(row["prediction"] is None for row in rows), remarks)
