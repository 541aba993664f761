"""Answers worth looking at, with their pictures and where the model looked."""
import base64
import inspect
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import get_args

import numpy as np
from PIL import Image

from data.world import Scenes
from data.world.splits import Name
from eval.frame.benchmark import Item, Row
from eval.frame.calibration import p_yes
from eval.frame.find import benchmark_class
from eval.report.run import Filed
from mm.analysis import Look, looks, occlusion, overlay, seen
from mm.models import VLM
from mm.sample import PLACEHOLDERS, Sample, Turn

SIZE = 192  # px of an embedded picture's longer side
BATCH = 16
WORLD = re.compile(r"scene-(?P<split>\w+)-(?P<seed>\d+)-(?P<index>\d+)$")


@dataclass(frozen=True)
class Heat:
    """An overlay and what it shows."""

    uri: str
    label: str


@dataclass(frozen=True)
class Card:
    """One answer. picture: data URI. heats: overlays. answer: HTML, for wrong words are marked in it. p_yes: of yes against no. content: what is in
    the picture, where that is known."""

    kind: str
    picture: str
    heats: tuple[Heat, ...]
    question: str
    answer: str
    truth: str
    right: bool
    p_yes: float | None = None
    content: str = ""
    remark: str = ""


# --- which answers


def examples(rows: Sequence[Row], kinds: Sequence[str], key: str) -> list[Row]:
    """The first right and the first wrong answer of each kind, in file order; of the first kind four, yes and no, right and wrong. Each about another
    picture, as far as there are."""
    chosen: list[Row] = []
    for place, kind in enumerate(kinds):
        own = [row for row in rows if row.get(key) == kind]
        for right in (True, False):
            answers = [row for row in own if row["correct"] == right]
            wanted = (("yes", "no") if right else ("no", "yes")) if place == 0 else ("any",)
            for want in wanted:
                fitting = [row for row in answers if want in ("any", row["label"])]
                shown = {row["picture"] for row in chosen}
                chosen += [row for row in fitting if row["picture"] not in shown][:1] or fitting[:1]
    return chosen


def false_alarms(rows: Sequence[Row], limit: int) -> list[Row]:
    """The surest yes to an absent object, one a picture; of the adversarial split where there is one."""
    wrong = [row for row in rows if row["label"] == "no" and row["prediction"] == "yes"]
    hard = [row for row in wrong if row.get("split") == "adversarial"] or wrong
    return first_of_each(sorted(hard, key=lambda row: -(p_yes(row.get("logp")) or 0)), limit)


def worst_captions(rows: Sequence[Row], limit: int) -> list[Row]:
    """The captions with the most words that name nothing in the picture."""
    wrong = [row for row in rows if row["hallucinated"]]
    return sorted(wrong, key=lambda row: (-len(row["hallucinated"]), -row["chair_i"]))[:limit]


def first_of_each(rows: Iterable[Row], limit: int) -> list[Row]:
    pictures: dict[str, Row] = {}
    for row in rows:
        pictures.setdefault(row["picture"], row)
    return list(pictures.values())[:limit]


# --- their pictures


def items_of(filed: Filed) -> dict[str, Item]:
    """The items that the result was made of, by id: the benchmark built again from its settings."""
    kind, settings = benchmark_class(filed.result.benchmark), filed.result.settings
    benchmark = kind(**{name: settings[name] for name in inspect.signature(kind).parameters if name in settings})
    return {item.id: item for item in benchmark.items()}


def answer_cards(vlm: VLM, filed: Filed, rows: Sequence[Row], key: str, places: int) -> list[Card]:
    """Cards of yes/no answers; key: the field that names their kind. places: N x N are hidden in turn, 0 for no occlusion."""
    items = items_of(filed)
    media = [items[row["id"]].media() for row in rows]
    asked = [Sample(row["id"], pictures, (Turn(items[row["id"]].question, row["answer"]),)) for row, pictures in zip(rows, media, strict=True)]
    cards = []
    for row, sample, seen_by in zip(rows, asked, in_batches(vlm, asked), strict=True):
        frame, look = sample.media[0].frames[0], seen_by[0]
        heats = (Heat(drawn(vlm, frame, look.maps[0][0]), f"looked: {look.mass:.0%} of attention"), *decided(vlm, sample, 0, places, "decided"))
        cards.append(Card(row[key], embedded(frame), heats, words_of(sample.turns[0].question), escape(row["answer"]), row["label"], row["correct"],
                          p_yes(row.get("logp")), content(row["picture"])))
    return cards


def caption_cards(vlm: VLM, filed: Filed, rows: Sequence[Row], places: int) -> list[Card]:
    """Cards of captions, with overlays for the first word that names nothing in the picture. places: as in `answer_cards`."""
    items = items_of(filed)
    written = [Sample(row["id"], items[row["id"]].media(), (Turn(items[row["id"]].question, row["answer"]),)) for row in rows]
    cards = []
    for row, sample, seen_by in zip(rows, written, in_batches(vlm, written), strict=True):
        frame, wrong = sample.media[0].frames[0], list(dict.fromkeys(word for word, _ in row["hallucinated"]))
        token = token_of(wrong[0], seen_by)
        heats = () if token is None else (
            Heat(drawn(vlm, frame, seen_by[token].maps[0][0]), f"looked, writing “{wrong[0]}”"),
            *decided(vlm, sample, token, places, f"decided “{wrong[0]}”"))
        missed = sorted(set(row["gt"]) - set(row["recalled"]))
        cards.append(Card(
            "caption", embedded(frame), heats, words_of(sample.turns[0].question), marked(row["answer"], wrong), ", ".join(row["gt"]), False,
            content=content(row["picture"]), remark=f"not mentioned: {', '.join(missed)}" if missed else ""))
    return cards


def in_batches(vlm: VLM, samples: Sequence[Sample]) -> list[list[Look]]:
    return [look for start in range(0, len(samples), BATCH) for look in looks(vlm, samples[start:start + BATCH])]


def token_of(word: str, seen_by: Sequence[Look]) -> int | None:
    """The token that begins the word; None where tokens are cut differently."""
    return next((i for i, look in enumerate(seen_by) if len(look.token) > 1 and word.lower().startswith(look.token.lower())), None)


def decided(vlm: VLM, sample: Sample, token: int, places: int, label: str) -> tuple[Heat, ...]:
    """The overlay of what decided a token of the answer; none without places."""
    if not places:
        return ()
    return (Heat(drawn(vlm, sample.media[0].frames[0], occlusion(vlm, sample, token, (places, places)).clip(min=0)), label),)


def words_of(question: str) -> str:
    """The question without placeholders."""
    for placeholder in PLACEHOLDERS.values():
        question = question.replace(placeholder, "")
    return question.strip()


def marked(caption: str, wrong: Sequence[str]) -> str:
    """The caption as HTML, the words `wrong` (or their plurals) marked."""
    if not wrong:
        return escape(caption)
    pattern = re.compile(rf"\b(?:{'|'.join(re.escape(escape(word)) for word in sorted(wrong, key=len, reverse=True))})(?:e?s)?\b", re.IGNORECASE)
    return pattern.sub(lambda found: f"<mark>{found.group()}</mark>", escape(caption))


def content(picture: str) -> str:
    """What is in a picture of the world, from its name; "" for other pictures."""
    found = WORLD.match(picture)
    if not found or found["split"] not in get_args(Name):
        return ""
    index = int(found["index"])
    scene = Scenes(found["split"], index + 1, int(found["seed"])).scene(index)  # type: ignore[arg-type]
    return scene.caption.removeprefix("there is ").replace(" ,", ",").removesuffix(" .")


# --- pixels


def drawn(vlm: VLM, frame: np.ndarray, heat: np.ndarray) -> str:
    return as_uri(overlay(seen(vlm, frame), heat, SIZE))


def embedded(frame: np.ndarray) -> str:
    """The picture itself, a small one by whole pixels larger."""
    factor = max(1, SIZE // max(frame.shape[:2]))
    return as_uri(Image.fromarray(frame).resize((frame.shape[1] * factor, frame.shape[0] * factor), Image.Resampling.NEAREST))


def as_uri(image: Image.Image) -> str:
    image.thumbnail((2 * SIZE, 2 * SIZE))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


