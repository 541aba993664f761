"""Copies of picture benchmarks of a few kilobytes in their official layouts. Words and questions are made up."""
import json
from pathlib import Path
from typing import Any

from tests.photos import paint

RELATED = {"cat": ["kitten"], "dog": ["puppy"], "sky": [], "TV": [], "table": ["desk"], "cup": [], "orange": []}
QUESTIONS = (  # about each picture: AMBER's type, question, truth
    ("discriminative-attribute-state", "Is the cat black in this image?", "yes"),
    ("discriminative-attribute-number", "Are there two cats in this image?", "no"),
    ("discriminative-attribute-action", "Does the cat sleep in this image?", "no"),
    ("discriminative-hallucination", "Is there a dog in this image?", "no"),
    ("discriminative-relation", "Is there direct contact between the cat and table?", "yes"),
    ("relation", "Is there direct contact between the cat and sky?", "no"))


def amber(folder: Path, pictures: int = 3) -> Path:
    """One description and six questions a picture. The annotations are in another order than the queries, so that only ids join them."""
    queries = [{"id": i, "image": f"AMBER_{i}.jpg", "query": "Describe this image."} for i in range(1, pictures + 1)]
    described = {"type": "generative", "truth": ["cat", "table"], "hallu": ["dog", "cup"]}
    truths: list[dict[str, Any]] = [{"id": i, **described} for i in range(1, pictures + 1)]
    for kind, query, truth in QUESTIONS:
        for i in range(1, pictures + 1):
            truths.append({"id": len(queries) + 1, "type": kind, "truth": truth})
            queries.append({"id": len(queries) + 1, "image": f"AMBER_{i}.jpg", "query": query})
    write(folder / "query" / "query_all.json", queries)
    write(folder / "annotations.json", truths[::-1])
    write(folder / "relation.json", RELATED)
    (folder / "safe_words.txt").write_text("orange\nlight")
    for i in range(1, pictures + 1):
        picture(folder / "image" / f"AMBER_{i}.jpg")
    return folder


def mme(folder: Path, tasks: tuple[str, ...], split: tuple[str, ...] = ()) -> Path:
    """The release: two pictures a task; those of `split` have folders of their own for pictures and texts."""
    for task in tasks:
        texts, images = (folder / task / "questions_answers_YN", folder / task / "images") if task in split else (folder / task, folder / task)
        for name in ("0001", "0002"):
            picture(images / f"{name}.png")
            texts.mkdir(parents=True, exist_ok=True)
            (texts / f"{name}.txt").write_text(f"Is {task} {name} so? Please answer yes or no.\tYes\nIs it not? Please answer yes or no.\tNo\n\n")
    return folder


def mme_lists(folder: Path, tasks: tuple[str, ...]) -> Path:
    """The same questions as the scorer's lists."""
    folder.mkdir(parents=True)
    for task in tasks:
        (folder / f"{task}.txt").write_text("".join(
            f"{name}.png\tIs {task} {name} so? Please answer yes or no.\tYes\n{name}.png\tIs it not? Please answer yes or no.\tNo\n"
            for name in ("0001", "0002")))
    return folder


CHOICES = (("2D", "Count", "ADE20K"), ("2D", "Relation", "COCO"), ("3D", "Depth", "Omni3D"), ("3D", "Distance", "Omni3D"))  # type, task, source


def cv_bench(folder: Path) -> Path:
    """Two questions a task, of three options, with the prompt in the first row of each only."""
    for kind in ("2D", "3D"):
        rows = []
        for i, (_, task, source) in enumerate([entry for entry in CHOICES if entry[0] == kind] * 2):
            name = f"img/{kind}/{task.lower()}/{source.lower()}_{i}.png"
            row = {"idx": 10 * int(kind[0]) + i, "type": kind, "task": task, "question": f"{task} {i}?", "choices": ["one", "two", "six"],
                   "answer": f"({'ABC'[i % 3]})", "filename": name, "source": source}
            rows.append(row | ({} if i else {"prompt": f"{task} {i}? Select from the following choices.\n(A) one\n(B) two\n(C) six"}))
            picture(folder / name)
        (folder / f"test_{kind.lower()}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    paint(32, 24).save(path)
