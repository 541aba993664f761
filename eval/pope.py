"""POPE: Li et al., "Evaluating Object Hallucination in Large Vision-Language Models", EMNLP 2023.

Half of the questions name an object of the picture, half an absent one: drawn at random, the most popular, or the one that most often stands beside
an object of the picture (adversarial). A model that answers from its prior says yes more often from split to split.
"""
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval.frame.benchmark import Benchmark, Item, Row, Scored
from eval.frame.calibration import SPELLINGS, WORLD, calibration
from eval.frame.files import picture_in, records
from eval.frame.intervals import Score, clustered, proportion, ratio
from eval.frame.world import EXISTENCE_QUESTION, pictures
from eval.parsers import reader

SPLITS = ("random", "popular", "adversarial")
OLDER = 2910  # questions of COCO's random split as first released, of which published numbers of LLaVA-1.5 are; today's file has 3000
UNDEFINED = Score(math.nan, math.nan, math.nan, 0)  # the official F1 without a true yes: a division by zero


class POPE(Benchmark):
    """Existence questions on the procedural world or on the official files.

    Args:
        data: "world", an official question file, or a folder of them (`*_random.json`, `*_popular.json`, `*_adversarial.json`; POPEv2's array too).
        images: folder of the pictures that the official files name.
        suffix: text behind each question, e.g. "\\nAnswer the question using a single word or phrase.". It decides the number: state it.
        candidates: answers whose log-probabilities are recorded, for `auc`, `ece` and `brier`: the world's two words, or on files yes and no in both
            usual spellings, each word being worth the sum of its own.
        size: scenes of the world. seed: of the world's random absent objects. k: absent and present objects asked about in each scene.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval", "vlmevalkit", "strict")

    def __init__(
        self, data: str = "world", images: str | None = None, suffix: str = "", candidates: Sequence[str] | None = None, size: int = 500,
        seed: int = 0, k: int = 2, max_new_tokens: int = 8,
    ) -> None:
        self.data = data
        self.images = images
        self.suffix = suffix
        self.candidates = tuple(candidates or (WORLD if data == "world" else SPELLINGS))
        self.size = size
        self.seed = seed
        self.k = k
        self.max_new_tokens = max_new_tokens

    def items(self) -> list[Item]:
        if self.data == "world":
            scenes = pictures(self.size)
            objects = [Objects(scene.name, scene.shapes) for scene in scenes]
            found = [(split, row) for split in SPLITS for row in build(objects, split, self.k, random.Random(self.seed), EXISTENCE_QUESTION)]
            media = {scene.name: scene.media for scene in scenes}
            context = {scene.name: scene.context for scene in scenes}
        else:
            found = [(split, row) for split, rows in load(Path(self.data)).items() for row in rows]
            media = {row["image"]: picture_in(self.images, row["image"]) for _, row in found}
            context = {}
        return [
            Item(f"{split}/{i}", row["image"], media[row["image"]], f"<image>\n{row['text']}{self.suffix}",
                 {"split": split, **row}, self.candidates, context.get(row["image"]), split)
            for i, (split, row) in enumerate(found)]

    def judge(self, row: Row, parser: str) -> Row:
        prediction = parse(row["answer"], parser)
        found = {"prediction": prediction, "matched": matched(row["answer"], parser), "correct": prediction == row["label"]}
        return found if parser != "lmms_eval" else {**found, "in_recall": prediction is not None}

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return score(rows)

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        files: dict[str, list[Row]] = {}
        for row in rows:
            split = row["split"].replace("/", "_")
            files.setdefault(f"{split}.questions", []).append({key: row[key] for key in ("question_id", "image", "text", "label")})
            files.setdefault(f"{split}.answers", []).append({"question": row["text"], "answer": row["answer"]})
        return files


# --- parse


def official(text: str) -> str:
    """The official reader. It knows no third answer: whatever holds none of the words No, no, not before the first full stop is a yes.

    Commas vanish without a blank, so "No,there is none" is a yes; words part at single blanks only, so "no\\n" is one too.
    """
    words = text.split(".", 1)[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def parse(text: str, parser: str = "official") -> str | None:
    """"yes", "no", or None where the parser finds neither (never with the official one)."""
    return official(text) if parser == "official" else reader(parser, "yes_no")(text)


def matched(text: str, parser: str = "official") -> bool:
    """Whether a rule applied. The official reader's yes by default counts as unmatched unless the answer holds the word yes."""
    label = parse(text, parser)
    return label is not None and (parser != "official" or label == "no" or re.search(r"\byes\b", text, re.IGNORECASE) is not None)


# --- score and aggregate


@dataclass(frozen=True)
class Counts:
    """Confusion counts with yes as the positive class. A prediction of None is wrong and not a yes. answers: how many were given."""

    tp: int
    fp: int
    tn: int
    fn: int
    unread: int
    yes: int
    answers: int


def count(predictions: Sequence[str | None], labels: Sequence[str]) -> Counts:
    """Counts over the pairs; surplus labels are ignored and the yes-ratio is over the answers given, as in the official script."""
    pairs = Counter((prediction, "no" if label == "no" else "yes") for prediction, label in zip(predictions, labels, strict=False))
    return Counts(
        pairs["yes", "yes"], pairs["yes", "no"], pairs["no", "no"], pairs["no", "yes"] + pairs[None, "yes"], pairs[None, "no"],
        sum(p == "yes" for p in predictions), len(predictions))


def metrics(predictions: Sequence[str | None], labels: Sequence[str]) -> dict[str, float]:
    """accuracy, precision, recall, f1, yes_ratio as the official script prints them; NaN where that divides by zero."""
    c = count(predictions, labels)
    precision, recall = ratio(c.tp, c.tp + c.fp), ratio(c.tp, c.tp + c.fn)
    return {
        "accuracy": ratio(c.tp + c.tn, c.tp + c.tn + c.fp + c.fn + c.unread), "precision": precision, "recall": recall,
        "f1": ratio(2 * precision * recall, precision + recall), "yes_ratio": ratio(c.yes, c.answers)}


def score(rows: Sequence[Row]) -> Scored:
    """Metrics a split, and the mean of accuracy and F1 over the splits of each source, for papers mean one or the other by POPE.

    Rows: split, image, label, prediction (yes, no, None), matched; logp, where `calibration` is to be known too; and in_recall, of answers read as
    lmms-eval reads them, whose recall, and so whose F1, leaves out those that are neither yes nor no (read and run at version 0.7.3).
    """
    scores: dict[str, Score] = {}
    splits: dict[str, list[Row]] = {}
    for row in rows:
        splits.setdefault(row["split"], []).append(row)
    for split, part in splits.items():
        scores |= {f"{split}/{name}": value for name, value in _of_split(part).items()}
        sure = calibration([row.get("logp") for row in part], [row["label"] == "yes" for row in part], [row["image"] for row in part])
        scores |= {f"{split}/{name}": value for name, value in sure.items()}
    for source in dict.fromkeys(split.rpartition("/")[0] for split in splits):
        own = {split: part for split, part in splits.items() if split.rpartition("/")[0] == source}
        if len(own) > 1:
            mean = _mean(own)
            if any(math.isnan(scores[f"{split}/f1"].value) for split in own):
                mean["mean/f1"] = UNDEFINED
            scores |= {f"{source}/{name}" if source else name: value for name, value in mean.items()}
    remarks = [f"{name} is undefined on these answers" for name, value in scores.items() if math.isnan(value.value)]
    remarks += [f"{split} has {OLDER} questions: this is the older file, and the current one has 3000" for split, part in splits.items()
                if split.endswith("random") and len(part) == OLDER]
    return Scored(scores, len(rows), sum(not row["matched"] for row in rows), (*remarks, *_unlike_lmms_eval(splits)))


def _unlike_lmms_eval(splits: Mapping[str, Sequence[Row]]) -> list[str]:
    """What that harness gives another figure for, though its reader and its recall are these."""
    if not any("in_recall" in row for rows in splits.values() for row in rows):
        return []
    truths = ", ".join(f"{split} {sum(row['label'] == 'yes' for row in rows) / len(rows):.4f}" for split, rows in splits.items())
    left = sum(not row["in_recall"] for rows in splits.values() for row in rows)
    return [f"read as by lmms-eval: {left} answers that are neither yes nor no are wrong, and in no recall or F1; what would divide by zero is 0 "
            f"there and undefined here; its yes_ratio is the share of yes among the truths ({truths}), and here it is that among the answers"]


def _of_split(rows: Sequence[Row]) -> dict[str, Score]:
    predictions, labels = [row["prediction"] for row in rows], [row["label"] for row in rows]
    c, values = count(predictions, labels), metrics(predictions, labels)
    left = sum(row["label"] == "yes" and not row.get("in_recall", True) for row in rows)
    if left:
        recall = ratio(c.tp, c.tp + c.fn - left)
        values |= {"f1": ratio(2 * values["precision"] * recall, values["precision"] + recall)}
    f1 = clustered([row["image"] for row in rows], _f1_terms(rows), lambda s: 2 * s[..., 0] / (s[..., 0] + s[..., 1]), len(rows))
    return {
        "accuracy": proportion(c.tp + c.tn, len(rows)), "precision": proportion(c.tp, c.tp + c.fp), "recall": proportion(c.tp, c.tp + c.fn - left),
        "f1": UNDEFINED if math.isnan(values["f1"]) else Score(values["f1"], f1.low, f1.high, len(rows)), "yes_ratio": proportion(c.yes, len(rows))}


def _f1_terms(rows: Sequence[Row]) -> np.ndarray:
    """[R, 2]: true positive; predicted yes plus labelled yes minus true positive. F1 = 2 t / (t + u)."""
    yes = np.array([[row["prediction"] == "yes", row["label"] == "yes" and row.get("in_recall", True)] for row in rows], np.float64).reshape(-1, 2)
    hit = yes.prod(1)
    return np.stack([hit, yes.sum(1) - hit], 1)


def _mean(splits: Mapping[str, Sequence[Row]]) -> dict[str, Score]:
    """Means over splits; a picture keeps its questions of all splits together in the bootstrap."""
    names, count_of = list(splits), len(splits)
    rows = [row for part in splits.values() for row in part]
    terms = np.zeros((len(rows), count_of, 4))
    place = 0
    for i, part in enumerate(splits.values()):
        right = [[row["prediction"] == row["label"], True] for row in part]
        terms[place:place + len(part), i] = np.concatenate([right, _f1_terms(part)], 1)
        place += len(part)
    pictures = [row["image"] for row in rows]

    def column(values: np.ndarray) -> np.ndarray:
        return values.reshape(*values.shape[:-1], len(names), 4)

    return {
        "mean/accuracy": clustered(pictures, terms.reshape(len(rows), -1), lambda s: (column(s)[..., 0] / column(s)[..., 1]).mean(-1), len(rows)),
        "mean/f1": clustered(
            pictures, terms.reshape(len(rows), -1), lambda s: (2 * column(s)[..., 2] / (column(s)[..., 2] + column(s)[..., 3])).mean(-1), len(rows))}


# --- build


@dataclass(frozen=True)
class Objects:
    """A picture and the names of its objects, in stored order; a name may occur twice."""

    image: str
    names: tuple[str, ...]


def build(pictures: Sequence[Objects], split: str, k: int, rng: random.Random, template: str = "Is there a {} in the image?") -> list[Row]:
    """Questions of one split: for each picture with at least k objects, its first k objects, each followed by an absent one.

    template: holds "a {}"; the article becomes "an" before a vowel. Frequencies are those of `pictures`, ties in order of first occurrence.
    """
    if split not in SPLITS:
        raise ValueError(f"POPE has the splits {', '.join(SPLITS)}; got {split!r}")
    pictures = [picture for picture in pictures if len(picture.names) >= k]
    frequency = Counter(name for picture in pictures for name in picture.names)
    beside = neighbours(pictures)
    rows: list[Row] = []
    for picture in pictures:
        asked: set[str] = set()
        for present in picture.names[:k]:
            asked.add(present)
            ranked = {"random": [], "popular": [n for n, _ in frequency.most_common()], "adversarial": beside[present]}[split]
            taken = asked | set(picture.names)
            absent = next((name for name in ranked if name not in taken), None) or _any_other(list(frequency), taken, rng, picture.image)
            asked.add(absent)
            for name, label in ((present, "yes"), (absent, "no")):
                rows.append({"question_id": len(rows) + 1, "image": picture.image, "text": ask(name, template), "label": label})
    return rows


def neighbours(pictures: Sequence[Objects]) -> dict[str, list[str]]:
    """The objects that occur beside each object, most frequent first: every pair of entries with different names counts."""
    counts: dict[str, Counter[str]] = {}
    for picture in pictures:
        for one in picture.names:
            counts.setdefault(one, Counter()).update(other for other in picture.names if other != one)
    return {name: [other for other, _ in counter.most_common()] for name, counter in counts.items()}


def ask(name: str, template: str) -> str:
    """The question about one object. (The released builder writes "in the imange?" behind "an"; the released files do not.)"""
    return (template.replace("a {}", "an {}") if name[0] in "aeiou" else template).format(name)


def _any_other(names: Sequence[str], taken: set[str], rng: random.Random, image: str) -> str:
    if not set(names) - taken:
        raise ValueError(f"POPE: picture {image!r} holds every object that occurs in the data, so no absent one can be asked about; add categories")
    while (name := rng.choice(names)) in taken:  # rejection, so that a seeded `random` gives the published sequence
        pass
    return name


# --- official files


def load(path: Path) -> dict[str, list[Row]]:
    """Rows {question_id, image, text, label} by split, in file order, of one question file or all in a folder.

    Reads JSON-lines (COCO), arrays in .json files (A-OKVQA, GQA) and POPEv2's array. With files of several sources in the folder the split is
    named "<source>/<split>".
    """
    files = [path] if path.is_file() else sorted(p for p in path.glob("*.json*") if re.search("random|popular|adversarial|annotations", p.stem))
    if not files:
        raise ValueError(f"no POPE question file at {path}; expected a file, or a folder with *_random.json, *_popular.json, *_adversarial.json")
    names = [(re.sub(r"_?pope.*", "", file.stem), next((s for s in SPLITS if file.stem.endswith(s)), file.stem)) for file in files]
    single = len({source for source, _ in names}) == 1
    found = {(split if single else f"{source}/{split}"): [_row(r, i, file) for i, r in enumerate(records(file), 1)]
             for file, (source, split) in zip(files, names, strict=True)}
    return dict(sorted(found.items(), key=lambda entry: (entry[0].split("/")[0] if not single else "", _place(entry[0]))))


def _place(split: str) -> int:
    name = split.split("/")[-1]
    return SPLITS.index(name) if name in SPLITS else len(SPLITS)


def _row(record: Row, number: int, file: Path) -> Row:
    if "query" in record:  # POPEv2, whose picture names begin with a slash and are meant to lie in a folder all the same
        image = str(record.get("image_name") or "").lstrip("/") or None
        record = {"question_id": number, "image": image, "text": record["query"], "label": record.get("label")}
    missing = [key for key in ("image", "text", "label") if not isinstance(record.get(key), str)]
    if missing:
        raise ValueError(f"{file}, row {number}: no {' and no '.join(missing)}; a POPE row is {{question_id, image, text, label}}")
    label = record["label"].strip().lower()
    if label not in ("yes", "no"):
        raise ValueError(f"{file}, row {number}: label {record['label']!r} is neither yes nor no")
    return {"question_id": record.get("question_id", number), "image": record["image"], "text": record["text"], "label": label}
