"""MME: Fu et al., "MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models", arXiv 2306.13394, 2023.

Two questions about each picture, one true and one false. A task scores 100 for the share of right answers plus 100 for the share of pictures with
both right. The tasks existence, count, position and color are known as its hallucination subset: objects, and their attributes.
"""
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from eval.frame.benchmark import Benchmark, Item, Row, Scored
from eval.frame.choices import grouped, share
from eval.frame.files import picture_in
from eval.frame.intervals import Score, clustered
from eval.frame.pairs import load
from eval.frame.world import asked
from eval.parsers import reader

Part = Literal["full", "perception", "cognition", "hallucination"]
OBJECT, ATTRIBUTE = ("existence", "count"), ("position", "color")
HALLUCINATION = (*OBJECT, *ATTRIBUTE)
PERCEPTION = (*HALLUCINATION, "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
TASKS: Mapping[Part, tuple[str, ...]] = {
    "full": (*PERCEPTION, *COGNITION), "perception": PERCEPTION, "cognition": COGNITION, "hallucination": HALLUCINATION}
TOTALS = {"perception": PERCEPTION, "cognition": COGNITION, "hallucination": HALLUCINATION, "object": OBJECT, "attribute": ATTRIBUTE}
WORLD = {"existence": "existence", "count": "number", "position": "relation", "color": "attribute"}  # task -> kind of question of the world


class MME(Benchmark):
    """Questions on the procedural world (the four hallucination tasks) or on the official files.

    Args:
        data: "world", the release's folder of tasks (`<task>/` with pictures and a .txt beside each, or with `images/` and `questions_answers_YN/`),
            or a folder of the scorer's `<task>.txt` with lines of picture, question and Yes or No.
        images: folder of the tasks' pictures, `data` itself by default.
        part: which tasks: full, perception (10), cognition (4) or hallucination (4 of perception).
        suffix: text behind each question; the official ones end in "Please answer yes or no." already.
        size: scenes a task on the world. seed: of the scenes.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval", "vlmevalkit", "strict")

    def __init__(
        self, data: str = "world", images: str | None = None, part: Part | None = None, suffix: str = "", size: int = 500, seed: int = 0,
        max_new_tokens: int = 16,
    ) -> None:
        self.data = data
        self.images = images
        self.part: Part = part or ("hallucination" if data == "world" else "full")
        self.suffix = suffix
        self.size = size
        self.seed = seed
        self.max_new_tokens = max_new_tokens
        if data == "world" and self.part != "hallucination":
            raise ValueError(f"the world has the tasks {', '.join(HALLUCINATION)} only; leave out --mme.part {self.part}, or give --mme.data")

    def items(self) -> list[Item]:
        if self.data == "world":
            return self._of_world()
        pictures_in = self.images or self.data
        return [
            Item(f"{pair.key}/{number}", pair.picture, picture_in(pictures_in, pair.file), f"<image>\n{question}{self.suffix}",
                 {"task": pair.task, "pair": pair.key, "image": pair.image, "question": question, "label": label}, ("Yes", "No"), split=pair.task)
            for pair in load(Path(self.data), Path(pictures_in), TASKS[self.part]) for number, (question, label) in enumerate(pair.questions, 1)]

    def _of_world(self) -> list[Item]:
        return [
            Item(f"{task}/{scene.number}/{question.answer}", scene.name, scene.media, f"<image>\n{question.text}{self.suffix}",
                 {"task": task, "pair": f"{task}/{scene.number}", "image": scene.name, "question": question.text, "label": question.answer},
                 ("yes", "no"), scene.context, task)
            for task, kind in WORLD.items() for scene, question in asked(kind, self.size, "test", self.seed)]

    def judge(self, row: Row, parser: str) -> Row:
        prediction = parse(row["answer"], parser)
        return {"prediction": prediction, "correct": prediction == row["label"]}

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return score(rows)

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        """One folder, on which the official scorer runs: --results_dir <stem>.official. It asks for all fourteen tasks."""
        def line(row: Row) -> Row:
            return {"image": row["image"], "question": row["question"], "gt": row["label"].capitalize(), "answer": row["answer"]}

        return {f"official/{task}.txt": [line(row) for row in part] for task, part in grouped(rows, "task").items()}


# --- parse


def official(text: str) -> str | None:
    """The official reader: yes, else no, in the first four characters of the lower-cased answer. "Know" and "none" are a no, "eyes" a yes, "the
    answer is yes" nothing. (Its test for the whole answer never succeeds, because a line's end is still on it.)"""
    return next((label for label in ("yes", "no") if label in text.lower()[:4]), None)


def parse(text: str, parser: str = "official") -> str | None:
    """"yes", "no", or None where the parser finds neither."""
    if parser == "official":
        return official(text)
    return reader(parser, "yes_no_mme" if parser == "lmms_eval" else "yes_no")(text)


# --- score


def score(rows: Sequence[Row]) -> Scored:
    """A task's accuracy and accuracy_plus (pictures with both questions right) as shares, its score in the official points (0 to 200), and sums of
    scores over perception, cognition, the hallucination subset and its object and attribute levels, where all their tasks were asked.

    Rows: task, pair (what the two questions about one picture share), picture, correct, prediction. Raises ValueError where a pair is none.
    """
    tasks = grouped(rows, "task")
    pairs = {task: _pairs(part) for task, part in tasks.items()}
    scores: dict[str, Score] = {}
    for task, part in tasks.items():
        scores[f"{task}/accuracy"] = share([row["correct"] for row in part], [row["picture"] for row in part])
        scores[f"{task}/accuracy_plus"] = share([hits == 2 for _, hits in pairs[task]], [picture for picture, _ in pairs[task]])
        scores[f"{task}/score"] = _points([task], pairs)
    partial = []
    for name, parts in TOTALS.items():
        asked = [task for task in parts if task in pairs]
        if len(asked) == len(parts):
            scores[f"{name}/score"] = _points(parts, pairs)
        elif asked:
            partial.append(f"{name} is not summed: {len(asked)} of its {len(parts)} tasks were asked")
    return Scored(scores, len(rows), sum(row["prediction"] is None for row in rows), tuple(partial))


def _pairs(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Picture and number of right answers of each pair."""
    found = grouped(rows, "pair")
    odd = next((key for key, pair in found.items() if len(pair) != 2), None)
    if odd is not None:
        raise ValueError(f"MME asks two questions about a picture, and of {odd} there are {len(found[odd])} answers; there is no score then")
    return [(pair[0]["picture"], sum(row["correct"] for row in pair)) for pair in found.values()]


def _points(tasks: Sequence[str], pairs: Mapping[str, Sequence[tuple[str, int]]]) -> Score:
    """Sum of the tasks' points, with a bootstrap over pictures: [pairs, T, 3] right answers, both right, pairs."""
    flat = [(place, picture, hits) for place, task in enumerate(tasks) for picture, hits in pairs[task]]
    terms = np.zeros((len(flat), len(tasks), 3))
    for number, (place, _, hits) in enumerate(flat):
        terms[number, place] = hits, hits == 2, 1

    def points(sums: np.ndarray) -> np.ndarray:
        right, both, count = np.moveaxis(sums.reshape(*sums.shape[:-1], len(tasks), 3), -1, 0)
        return np.asarray((right / (2 * count) * 100 + both / count * 100).sum(-1))

    return clustered([picture for _, picture, _ in flat], terms.reshape(len(flat), -1), points, 2 * len(flat))
