"""What a judged row says, whatever its benchmark: which kind of answer it is, which part it belongs to, and whether it is right."""
from collections.abc import Sequence
from typing import Literal

from eval.frame import calibration
from eval.frame.benchmark import Row

Kind = Literal["yes_no", "correct", "captions", "other"]
CAPTION_FIELDS = ("hallucinated", "generated", "recalled", "gt", "words", "chair_s")
SPLITS = ("split", "kind", "task", "dimension", "category", "type")  # fields that name the part of a benchmark; the first that a row has counts


def kind_of(rows: Sequence[Row]) -> Kind:
    """captions: with the fields of CHAIR. yes_no: right or wrong, with labels yes and no. correct: right or wrong. other: scored in another way."""
    if all(name in row for row in rows for name in CAPTION_FIELDS):
        return "captions"
    if not all(isinstance(row.get("correct"), bool) for row in rows):
        return "other"
    return "yes_no" if all("prediction" in row and yes_no(row)[1] in ("yes", "no") for row in rows) else "correct"


def split_of(row: Row) -> str:
    """The part of the benchmark; "" where rows name none, and of those asked under controls too, for a control is no answer to what is asked."""
    if isinstance(row.get("control"), str):
        return "" if row["control"] == "none" else str(row["control"])
    return str(next((row[name] for name in SPLITS if isinstance(row.get(name), str)), ""))


def yes_no(row: Row) -> tuple[str | None, str | None]:
    """Prediction and label in small letters."""
    return _small(row.get("prediction")), _small(row.get("label", row.get("truth")))


def p_yes(row: Row) -> float | None:
    """Probability of yes against no, from recorded log-probabilities; None without them."""
    return calibration.p_yes(row.get("logp"))


def is_right(row: Row) -> bool | None:
    """Of a caption, whether all that it mentions is there; None where rows are neither right nor wrong."""
    if isinstance(row.get("correct"), bool):
        return bool(row["correct"])
    return not row["hallucinated"] if "hallucinated" in row else None


def is_parsed(row: Row) -> bool:
    """Whether a rule of the parser matched, as far as the row says: `matched`, a prediction, or a mention in a caption."""
    if isinstance(row.get("matched"), bool):
        return bool(row["matched"])
    if "prediction" in row:
        return row["prediction"] is not None
    return bool(row["generated"]) if "generated" in row else True


def truth_of(row: Row) -> str:
    """The truth in words, "" where no field that is known holds one."""
    for name in ("label", "truth", "gt", "gt_answer", "objects"):
        value = row.get(name)
        if isinstance(value, str | int | float):
            return str(value)
        if isinstance(value, list) and value:
            return ", ".join(map(str, value))
    return ""


def _small(value: object) -> str | None:
    return value.strip().lower() if isinstance(value, str) else None
