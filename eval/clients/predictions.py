"""Predictions that VLMEvalKit wrote (`<model>_<dataset>.xlsx`; .tsv or .json by PRED_FORMAT), matched to the rows that were exported."""
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from eval.clients.table import Entry
from eval.frame.benchmark import Row
from eval.frame.files import records

FAILED = "Failed to obtain answer"  # begins what it writes where a model gave none
NAMED = 5  # rows that a message names


def predictions(path: Path, found: Sequence[Entry]) -> dict[str, str]:
    """Index -> answer, of every row exported and of no other. An empty cell is an empty answer.

    ValueError naming the rows that are missing, twice there, of another question, unknown, or without an answer because the model failed.
    """
    rows = _rows(path)
    lacking = {"index", "prediction"} - rows[0].keys()
    if lacking:
        raise ValueError(f"{path} has no column {' and no column '.join(sorted(lacking))}; it has {', '.join(rows[0])}. Give the file "
                         "<model>_<dataset>.xlsx (.tsv, .json), not one of its scores")
    counts = Counter(_text(row["index"]) for row in rows)
    asked = {entry.index: str(entry.columns["question"]) for entry in found}
    answers = {_text(row["index"]): _text(row["prediction"]) for row in rows}
    said = {_text(row["index"]): _text(row["question"]) for row in rows if "question" in row}
    for what, wrong in (
        ("are missing", [index for index in asked if index not in answers]),
        ("occur more than once", [index for index, count in counts.items() if count > 1]),
        ("are not of this export", [index for index in answers if index not in asked]),
        ("ask something else than was exported", [index for index in asked if index in said and _like(said[index]) != _like(asked[index])]),
        (f'hold "{FAILED}"; run VLMEvalKit again, which asks them anew', [index for index, text in answers.items() if text.startswith(FAILED)]),
    ):
        if wrong:
            named = ", ".join(wrong[:NAMED]) + " ..." * (len(wrong) > NAMED)
            raise ValueError(f"{path}: {len(wrong)} rows {what} (index {named}); {len(asked)} rows are expected. The options of the benchmark and "
                             "--limit have to be those of the export")
    return answers


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        raise ValueError(f"there is no file {path} of predictions")
    readers = {".xlsx": _xlsx, ".tsv": _tsv, ".json": records}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: predictions of VLMEvalKit are {', '.join(readers)}")
    rows = readers[path.suffix.lower()](path)
    if not rows:
        raise ValueError(f"{path} holds no predictions")
    return rows


def _tsv(path: Path) -> list[Row]:
    csv.field_size_limit(sys.maxsize)  # a cell may hold a picture
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _xlsx(path: Path) -> list[Row]:
    """Rows of the first sheet below its header."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise ValueError(f"{path}: .xlsx is read by openpyxl; install mm-attention[xlsx], or let VLMEvalKit write .tsv (PRED_FORMAT=tsv)") from error
    try:
        book = load_workbook(path, read_only=True)
    except Exception as error:  # zipfile's, or a parser's
        raise ValueError(f"{path} is no .xlsx file: {error}") from error
    lines = list(book.worksheets[0].iter_rows(values_only=True))
    book.close()
    names = [_text(cell) for cell in lines[0]] if lines else []
    return [dict(zip_longest(names, line[:len(names)])) for line in lines[1:] if any(cell is not None for cell in line)]


def _text(cell: Any) -> str:
    """As it was before a spreadsheet took it for a number."""
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _like(question: str) -> str:
    """Without blanks, which spreadsheets change."""
    return "".join(question.split())
