"""Items of a benchmark as rows of VLMEvalKit's TSV (read in its code, commits of 2024 and 2025; not run).

A file holds `index`, `image` (base64, or the index of an earlier row with the same picture), `image_path`, `question`, `answer`, `category`, and the
options of multiple choice as `A`, `B` ... What scores a column by name wants: yes/no answers spelled "Yes" and "No"; for POPE one row for a question
of several splits, `category` listing them; for MME the same `image_path` on both questions about a picture; for HallusionBench an index whose parts
4 to 6 are set, figure and question, besides `l2-category`.
"""
import base64
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.clients.asked import pngs, text_of, yes_or_no
from eval.frame.benchmark import Item, Row
from eval.frame.choices import letters
from mm.models.layout import PLACEHOLDER

SUFFIXES = (".png", ".jpg", ".jpeg")
HALLUSION = ("category", "subcategory", "visual_input", "set_id", "figure_id", "question_id")


@dataclass
class Entry:
    """A row of the file but for its picture. items: those that it answers, several where splits ask the same."""

    index: str
    columns: Row
    items: list[Item] = field(default_factory=list)


def entries(items: Sequence[Item]) -> list[Entry]:
    """Rows of items with a picture, in order; VLMEvalKit leaves questions without one out. ValueError for clips and for what a text cannot say."""
    found: dict[tuple[object, ...], Entry] = {}
    for item in items:
        if not shows(item):
            continue
        columns = columns_of(item)
        index = "_".join(item.row[name] for name in HALLUSION) if is_hallusion(item.row) else ""
        key = (item.picture, index, *((name, value) for name, value in columns.items() if name != "category"))
        entry = found.setdefault(key, Entry(index or str(len(found)), columns))
        entry.items.append(item)
        entry.columns["category"] = ",".join(dict.fromkeys(category_of(each) for each in entry.items))
    return list(found.values())


def columns_of(item: Item) -> Row:
    """question, answer and options. The answer is "" where the truth is no text (captions)."""
    row = item.row
    options = options_of(row)
    if options and row.get("label") in (*letters(options),):
        return {"question": row.get("question", text_of(item)), **dict(zip(letters(options), options, strict=True)), "answer": row["label"]}
    if is_hallusion(row):
        return {"question": text_of(item), "answer": {"1": "Yes", "0": "No"}[row["gt_answer"]], "l2-category": row["subcategory"]}
    return {"question": text_of(item), "answer": (yes_or_no(row) or "").capitalize()}


def options_of(row: Row) -> list[str]:
    """Of multiple choice, [] for other rows: a list, or a text like MMVP's "(a) Open (b) Closed"."""
    options = row.get("choices") or row.get("candidates") or row.get("options") or []
    return re.findall(r"\([a-z]\)\s*(.+?)\s*(?=\([a-z]\)|$)", options) if isinstance(options, str) else list(options)


def shows(item: Item) -> bool:
    """Whether it is about a picture. Nothing is read."""
    return PLACEHOLDER.search(item.question) is not None


def category_of(item: Item) -> str:
    return str(item.row.get("category") or item.split or item.row.get("type") or "")


def is_hallusion(row: Row) -> bool:
    return row.get("gt_answer") in ("0", "1") and all(name in row for name in HALLUSION)


def write_table(found: Sequence[Entry], path: Path) -> None:
    """The TSV of these rows. Pictures are PNG, each once."""
    names = list(dict.fromkeys(name for entry in found for name in entry.columns))
    held: dict[str, str] = {}  # picture -> index of the row that holds it
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["index", "image", "image_path", *names], restval="", delimiter="\t", lineterminator="\n")
        table.writeheader()
        for entry in found:
            item = entry.items[0]
            image = held.setdefault(item.picture, entry.index)
            if image == entry.index:
                pictures = [base64.b64encode(png).decode() for png in pngs(item)]
                image = pictures[0] if len(pictures) == 1 else str(pictures)
            table.writerow({"index": entry.index, "image": image, "image_path": _path(item), **entry.columns})
    part.replace(path)


def _path(item: Item) -> str:
    """Name of the picture's file; a list of names where there are several, as VLMEvalKit wants it then."""
    name = item.picture.replace("/", "_")
    stem, suffix = (name[:-len(Path(name).suffix)], Path(name).suffix) if name.lower().endswith(SUFFIXES) else (name, ".png")
    count = len(item.media())
    return stem + suffix if count == 1 else str([f"{stem}_{number}{suffix}" for number in range(count)])
