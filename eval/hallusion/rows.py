"""Rows of HallusionBench, and the groups that they belong to."""
from pathlib import Path

from eval.frame.benchmark import Row
from eval.frame.files import records

NEEDED = ("category", "subcategory", "visual_input", "set_id", "figure_id", "question_id", "question", "gt_answer_details", "gt_answer")
FIELDS = ("category", "subcategory", "visual_input", "set_id", "figure_id", "sample_note", "question_id", "question", "gt_answer_details",
          "gt_answer", "filename")  # as in the official file
ALLOWED = {"category": ("VD", "VS"), "visual_input": ("0", "1", "2"), "gt_answer": ("0", "1")}


def load(path: Path) -> list[Row]:
    """Rows of the official file in order, with the values as text and `filename` None without a picture. ValueError names the row that is not as it
    should be."""
    found: dict[str, Row] = {}
    for number, record in enumerate(records(path), 1):
        where = f"{path}, row {number}"
        missing = [name for name in NEEDED if record.get(name) is None]
        if missing:
            raise ValueError(f"{where}: no {' and no '.join(missing)}; a row of HallusionBench has {', '.join(NEEDED)} and filename")
        row = {name: str(record[name]) for name in FIELDS if record.get(name) is not None}
        wrong = [f"{name} {row[name]!r} is none of {', '.join(values)}" for name, values in ALLOWED.items() if row[name] not in values]
        if not wrong and (row["visual_input"] == "0") == ("filename" in row):
            wrong = [f"visual_input is {row['visual_input']} and filename {record.get('filename')!r}; only rows with visual_input 0 have none"]
        if wrong or id_of(row) in found:
            raise ValueError(f"{where}: {'; '.join(wrong) or f'{id_of(row)} occurs twice'}; take the official HallusionBench.json")
        found[id_of(row)] = {"filename": None, **row}
    return list(found.values())


def id_of(row: Row) -> str:
    return f"{figure_of(row)}/{row['question_id']}"


def set_of(row: Row) -> str:
    """Pictures that are versions of each other."""
    return f"{row['category']}/{row['subcategory']}/{row['set_id']}"


def pair_of(row: Row) -> str:
    """The same question about all versions of a picture: a question pair, though often three and more."""
    return f"{set_of(row)}/{row['question_id']}"


def figure_of(row: Row) -> str:
    """All questions about one picture."""
    return f"{set_of(row)}/{row['figure_id']}"


def is_original(row: Row) -> bool:
    """Asked about the original: the picture before it was edited (VD), no picture at all (VS)."""
    return bool(row["figure_id"] == "0")


def is_pictureless(row: Row) -> bool:
    """Of VS, asked without a picture: whoever says that they cannot know is right."""
    return bool(row["category"] == "VS" and row["figure_id"] == "0")
