"""Every pair of the benchmark as a card: pictures, mask, heat maps of the words, and what the recogniser says of them."""
import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from eval.edits.report.run import Arm, Run
from eval.frame.benchmark import Row
from mm.analysis.overlay import overlay

MAP = 128  # px of an overlay


@dataclass(frozen=True)
class Verdict:
    """note: the figure behind it."""

    text: str
    is_good: bool
    note: str = ""


@dataclass(frozen=True)
class Take:
    """What one recipe made. Pictures are data URIs, "" where there is none. statuses: what the filter asks for."""

    name: str
    edited: str
    mask: str
    maps: tuple[tuple[str, str], ...]
    verdicts: tuple[Verdict, ...]
    statuses: str


@dataclass(frozen=True)
class Card:
    """before, after: words of the captions and whether each is the one that changes."""

    kind: str
    id: str
    before: tuple[tuple[str, bool], ...]
    after: tuple[tuple[str, bool], ...]
    source: str
    plain: str
    is_source_right: bool
    plain_verdicts: tuple[Verdict, ...]
    takes: tuple[Take, ...]


def cards(run: Run) -> list[Card]:
    """In the order of the benchmark, one a pair that any recipe has edited."""
    found = []
    for kind in run.arms:
        arms, plain = run.controlled(kind), run.plain(kind)
        rows = [{row["id"]: row for row in arm.rows} for arm in arms]
        without = {row["id"]: row for row in plain.rows} if plain else {}
        for id in dict.fromkeys(id for each in rows for id in each):
            takes = [(arm, each[id]) for arm, each in zip(arms, rows, strict=True) if id in each]
            found.append(_card(kind, takes, without.get(id, {})))
    return found


def _card(kind: str, takes: list[tuple[Arm, Row]], without: Row) -> Card:
    arm, row = takes[0]
    files = row.get("files", {})
    return Card(kind, row["id"], _marked(row["before"], row["words"][0]), _marked(row["after"], row["words"][1]), _uri(arm.home, files.get("source")),
                _uri(arm.home, files.get("plain")), bool(row.get("source_right")), verdicts(without), tuple(_take(*each) for each in takes))


def _take(arm: Arm, row: Row) -> Take:
    files = row.get("files", {})
    over = [(word, _heat(arm.home, files.get("edited" if number else "source"), file))
            for number, (word, file) in enumerate(files.get("maps", {}).items())]
    return Take(arm.name, _uri(arm.home, files.get("edited")), _uri(arm.home, files.get("mask")), tuple(over), verdicts(row), statuses(row))


def verdicts(row: Row) -> tuple[Verdict, ...]:
    """Nothing of an edit whose source is wrong."""
    if not row.get("source_right"):
        return ()
    kept, iou = row.get("other_kept"), row.get("target_iou")
    found = [Verdict("edit", bool(row["edit_recognised"]), "" if iou is None else f"IoU {iou:.2f}")]
    return (*found, Verdict("other", kept == 1, "")) if kept is not None else tuple(found)


def statuses(row: Row) -> str:
    """Of "right" (edit and other), "missed", "lost" (the other object), "unjudged" (the source is wrong)."""
    if not row.get("source_right"):
        return "unjudged"
    missed, lost = not row["edit_recognised"], row.get("other_kept") not in (None, 1)
    return " ".join([*["missed"] * missed, *["lost"] * lost]) or "right"


def best(arms: Mapping[str, list[Arm]]) -> dict[str, str]:
    """Kind -> the recipe with the most edits right, of object and other: the one to show first."""
    def right(arm: Arm) -> int:
        return sum(statuses(row) == "right" for row in arm.rows)

    return {kind: max(each, key=right).name for kind, each in arms.items() if each}


def _marked(caption: str, changed: str) -> tuple[tuple[str, bool], ...]:
    return tuple((word, word == changed) for word in caption.split())


def _uri(home: Path, file: str | None) -> str:
    """The file to the byte; "" where there is none."""
    if file is None or not (home / file).is_file():
        return ""
    return "data:image/png;base64," + base64.b64encode((home / file).read_bytes()).decode()


def heat_of(home: Path, picture: str | None, file: str, size: int = MAP) -> Image.Image | None:
    """A word's map over its picture; None where either is missing."""
    if picture is None or not (home / picture).is_file() or not (home / file).is_file():
        return None
    return overlay(np.asarray(Image.open(home / picture).convert("RGB")), np.asarray(Image.open(home / file).convert("L"), np.float32) / 255, size)


def _heat(home: Path, picture: str | None, file: str) -> str:
    drawn = heat_of(home, picture, file)
    if drawn is None:
        return ""
    buffer = io.BytesIO()
    drawn.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
