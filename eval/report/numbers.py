"""How numbers are written on the page: one format a kind of number."""
import math

from eval.frame.benchmark import Row

NONE = "–"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as "88.4 %", with a narrow blank that does not break; a dash where undefined."""
    return NONE if value is None or math.isnan(value) else f"{100 * value:.{digits}f}\u202f%"


def interval(score: Row) -> str:
    """A share's 95 % interval as "86.9–89.7"."""
    return NONE if score["value"] is None else f"{100 * score['low']:.1f}–{100 * score['high']:.1f}"


def plain(value: float | None, digits: int = 1) -> str:
    return NONE if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def count(value: float) -> str:
    """A whole number as "1,980"."""
    return f"{round(value):,}"


def duration(seconds: float) -> str:
    """As "45 s", "11 min 20 s" or "3 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def compact(value: float) -> str:
    """A tick of an axis: "0.25", "1", "2k", "1.5M"."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:.6g}"
