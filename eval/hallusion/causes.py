"""Why an answer of HallusionBench is wrong: language hallucination (the model says what it knows), visual illusion (it misreads the picture), or
either of them.

The rules are those of the official script. They compare the answer about an edited picture with the answer about the original. A row has `check`,
what the judge says (0 wrong, 1 right, 2 unclear), and `same`, whether its answer is consistent with the one about the original (1, 0).
"""
from collections.abc import Mapping, Sequence

from eval.frame.benchmark import Row
from eval.hallusion.rows import is_original, is_pictureless, pair_of

LANGUAGE, VISION, MIXED = "language", "vision", "mixed"
CAUSES = (LANGUAGE, VISION, MIXED)


def alone(row: Row) -> str | None:
    """The cause by the answer itself, None for a right answer: a wrong one about an edited picture may have either."""
    if row["check"] == 1 or (row["check"] == 2 and is_pictureless(row)):
        return None
    if is_pictureless(row):
        return LANGUAGE
    return MIXED if row["check"] == 0 and not is_original(row) else VISION


def compared(row: Row, original: Row) -> str | None:
    """The cause in view of the answer to the same question about the original."""
    if row["check"] == 1 or is_original(row):
        return alone(row)
    if row["category"] == "VD":
        return MIXED if hinges(row, original) and row["same"] else VISION
    if original["check"] == 0:
        return LANGUAGE if hinges(row, original) and row["same"] else MIXED
    return LANGUAGE if hinges(row, original) and row["same"] else VISION


def hinges(row: Row, original: Row) -> bool:
    """Whether the cause depends on `same`, so that the judge has to say it."""
    if row["check"] != 0 or is_original(row):
        return False
    if row["category"] == "VD":
        return bool(original["check"] == 1)
    return bool(original["check"] == 0 or (original["check"] == 1 and row["visual_input"] == "2"))


def diagnosed(rows: Sequence[Row]) -> list[str | None]:
    """Cause of each row by comparison; None for right answers, and for wrong ones whose original is not among the rows."""
    originals = originals_of(rows)
    return [compared(row, originals[pair_of(row)]) if pair_of(row) in originals else None for row in rows]


def originals_of(rows: Sequence[Row]) -> Mapping[str, Row]:
    return {pair_of(row): row for row in rows if is_original(row)}


def joined(found: Sequence[str | None]) -> str | None:
    """Cause of a question pair: mixed as soon as both causes occur in it."""
    language, vision = bool({LANGUAGE, MIXED} & set(found)), bool({VISION, MIXED} & set(found))
    return (MIXED if vision else LANGUAGE) if language else VISION if vision else None
