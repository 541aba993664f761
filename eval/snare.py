"""SNARE: Wang et al., "Can Linguistic Knowledge Improve Multimodal Alignment in Vision-Language Pretraining?", arXiv 2308.12898, 2023.

A picture and captions that differ in how words go together: word order, negation, whose attribute it is, who relates to whom, where things are. Which
caption fits best says whether a model reads more than a bag of words. A language model prefers some captions whatever it sees: the view `snare:blind`
says how often it is right from that alone.
"""
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from eval.composition import rows as user_rows
from eval.composition import world
from eval.composition.case import Case, polled, polled_in_world
from eval.frame.benchmark import Benchmark, Item, Row, Scored
from eval.frame.choices import grouped, mean_accuracy, share
from eval.frame.intervals import Score
from eval.frame.world import CAPTION_QUESTION
from eval.parsers import reader

FEWEST = 25  # cases of a group that is reported by itself
WITH_SEVERAL_RANKS = "spatial_relations"


class SNARE(Benchmark):
    """Captions on the procedural world or on the user's files.

    Args:
        data: "world", or a JSON or JSON-lines file of rows, or a folder of them. A row is {task, image, captions}, perhaps with `labels` (1 for each
            right caption; by default the first), `classes` (what each caption is), `group` and `box` (left, top, width, height of what is shown); or
            a row of ARO's `visual_genome_relation.json` and `visual_genome_attribution.json`, from which SNARE's captions are built. The rows of
            semantic_structure need a tagger and are built beforehand.
        images: folder of the pictures that rows name; a row may also hold its picture in base64.
        protocol: "likelihood" ranks captions by their mean log-probability a token as answers to `prompt`, ends included; "polling" asks about each
            caption, as SNARE does where a model gives no score. Its clients let the model describe the picture first, which is left out here.
        prompt: what a caption answers. suffix: text behind each question of the polling. size: scenes of the world. seed: of its captions.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval", "vlmevalkit", "strict")

    def __init__(
        self, data: str = "world", images: str | None = None, protocol: Literal["likelihood", "polling"] = "likelihood", prompt: str | None = None,
        suffix: str | None = None, size: int = 500, seed: int = 0, max_new_tokens: int | None = None,
    ) -> None:
        is_world = data == "world"
        self.data = data
        self.images = images
        self.protocol = protocol
        self.prompt = prompt or (CAPTION_QUESTION if is_world else "Describe the image.")
        self.suffix = suffix if suffix is not None else "" if is_world else "\nAnswer the question with 'yes' or 'no'."
        self.size = size
        self.seed = seed
        self.max_new_tokens = max_new_tokens or (1 if protocol == "likelihood" else 16)

    def items(self) -> list[Item]:
        cases = world.cases(self.size, self.seed) if self.data == "world" else user_rows.load(Path(self.data), self.images)
        return [item for case in cases for item in self._asked(case)] if self.protocol == "polling" else self._ranked(cases)

    def judge(self, row: Row, parser: str) -> Row:
        if "column" in row:
            said = parse(row["answer"], parser)
            return {"said": said, "matched": said is not None, "correct": said == ("yes" if row["labels"][row["column"]] else "no")}
        scores = likelihoods(row)
        if scores is None:
            return {"scores": None, "order": [], "matched": False, "correct": False}
        order = ranked(scores)
        return {"scores": scores, "order": order, "matched": True, "correct": row["labels"][order[0]]}

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return score(rows)

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        """A row a case with its scores [1, K]: those of a task, as an array, are what the official `evaluate_scores` takes."""
        if any("column" in row for row in rows):
            return {task: [{**_of_case(part), "scores": [[int("yes" in row["answer"].lower()) for row in part]]}
                           for part in grouped(own, "case").values()] for task, own in grouped(rows, "task").items()}
        return {task: [{**_of_case([row]), "scores": [likelihoods(row)]} for row in own] for task, own in grouped(rows, "task").items()}

    def _ranked(self, cases: Sequence[Case]) -> list[Item]:
        """An item a case. Cases of one picture share its question, which is asked once: with the captions of all of them."""
        captions: dict[str, dict[str, None]] = {}
        for case in cases:
            captions.setdefault(case.picture, {}).update(dict.fromkeys(case.captions))
        question = f"<image>\n{self.prompt}"
        return [Item(case.id, case.picture, case.media, question, _row(case), tuple(captions[case.picture]), case.context, case.task)
                for case in cases]

    def _asked(self, case: Case) -> list[Item]:
        """An item a caption."""
        ask = polled_in_world if self.data == "world" else polled
        return [Item(f"{case.id}/{name}", case.picture, case.media, f"<image>\n{ask(caption)}{self.suffix}", {**_row(case), "column": column}, (),
                     case.context, case.task) for column, (name, caption) in enumerate(zip(case.classes, case.captions, strict=True))]


def _row(case: Case) -> Row:
    return {"task": case.task, "case": case.id, "classes": list(case.classes), "captions": list(case.captions), "labels": list(case.labels),
            "group": case.group}


def _of_case(rows: Sequence[Row]) -> Row:
    return {"image": rows[0]["picture"], "captions": rows[0]["captions"], "labels": [int(label) for label in rows[0]["labels"]]}


# --- parse


def parse(text: str, parser: str = "official") -> str | None:
    """The answer to a poll. The official reader looks for "yes" anywhere, then for "no" anywhere: "I know" is a no, "his eyes" say yes."""
    if parser != "official":
        return reader(parser, "yes_no")(text)
    return next((word for word in ("yes", "no") if word in text.lower()), None)


def likelihoods(row: Row) -> list[float] | None:
    """Mean log-probability a token of each caption; None where one of them is not known, or no number, as of a model that overflows: every caption
    would tie with it, and the first, which is right, would win."""
    logp, tokens = row.get("logp") or {}, row.get("tokens") or {}
    if any(math.isnan(logp.get(caption, math.nan)) or not tokens.get(caption) for caption in row["captions"]):
        return None
    return [logp[caption] / tokens[caption] for caption in row["captions"]]


def ranked(scores: Sequence[float]) -> list[int]:
    """Columns, the best first; of equals the earlier, as in the official script."""
    return sorted(range(len(scores)), key=lambda column: -scores[column])


# --- score and aggregate


def hits(orders: Sequence[Sequence[int]], labels: Sequence[Sequence[bool]], n: int) -> list[bool]:
    """For each row whether a right caption is among the n best. (With several right ones the official script counts the first only.)"""
    return [any(right[column] for column in order[:n]) for order, right in zip(orders, labels, strict=True)]


def score(rows: Sequence[Row]) -> Scored:
    """accuracy a task, of its groups with at least 25 cases, and the mean over tasks; and a class, how often it is taken.

    Ranked captions: a case is right whose best caption is; <class> is the share of cases in which that class is best; top2 and top3 of spatial
    relations. Polled captions: a case is right whose captions all get the right reply; <class> is the share of captions of the class that get a yes,
    as SNARE prints it. unparsed: captions without scores, answers without yes or no (which count as no).
    """
    tasks = {task: _cases(part) for task, part in grouped(rows, "task").items()}
    scores: dict[str, Score] = {}
    for task, cases in tasks.items():
        scores |= {f"{task}/{name}": value for name, value in _of_task(task, cases).items()}
    if len(tasks) > 1:
        scores["mean/accuracy"] = mean_accuracy(tasks)
    unread = sum(not row["matched"] for row in rows)
    remarks = [f"{name} is undefined" for name, value in scores.items() if math.isnan(value.value)]
    remarks += [f"{unread} answers to polls hold neither yes nor no and count as no"] * bool(unread and any("column" in row for row in rows))
    return Scored(scores, len(rows), unread, tuple(remarks))


def _cases(rows: Sequence[Row]) -> list[Row]:
    """One row a case: {clip: its picture, counted, group, classes, labels, correct, taken: whether each caption is, order}."""
    found = []
    for part in grouped(rows, "case").values():
        first = part[0]
        columns = {row["column"]: row["said"] == "yes" for row in part} if "column" in first else dict.fromkeys(first["order"][:1], True)
        found.append({
            "clip": first["picture"], "counted": True, "correct": all(row["correct"] for row in part), "order": first.get("order"),
            **{name: first[name] for name in ("group", "classes", "labels")}, "taken": [columns.get(k, False) for k in range(len(first["classes"]))]})
    return found


def _of_task(task: str, cases: Sequence[Row]) -> dict[str, Score]:
    pictures = [case["clip"] for case in cases]

    def accuracy(part: Sequence[Row]) -> Score:
        return share([case["correct"] for case in part], [case["clip"] for case in part])

    found = {"accuracy": accuracy(cases)}
    if task == WITH_SEVERAL_RANKS and cases[0]["order"] is not None:
        orders, labels = [case["order"] for case in cases], [case["labels"] for case in cases]
        found |= {f"top{n}": share(hits(orders, labels, n), pictures) for n in (2, 3)}
    for name in dict.fromkeys(name for case in cases for name in case["classes"]):
        own = [case for case in cases if name in case["classes"]]
        found[name] = share([case["taken"][case["classes"].index(name)] for case in own], [case["clip"] for case in own])
    groups = {name: part for name, part in grouped(cases, "group").items() if name and len(part) >= FEWEST}
    return found | {f"{name}/accuracy": accuracy(part) for name, part in groups.items()}
