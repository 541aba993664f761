"""The findings as a table in Markdown: levels of the plain model, differences with intervals, and what answering costs."""
from collections.abc import Sequence
from typing import NamedTuple

from eval.frame.benchmark import Row


class Column(NamedTuple):
    """A metric of a benchmark. head: for readers. lower: less is better."""

    benchmark: str
    metric: str
    head: str
    lower: bool = False
    per_cent: bool = True


COLUMNS = (
    Column("pope", "random/accuracy", "POPE random"), Column("pope", "popular/accuracy", "popular"),
    Column("pope", "adversarial/accuracy", "adversarial"), Column("pope", "adversarial/yes_ratio", "yes-ratio adv."),
    Column("chair", "chair_i", "CHAIR_i", lower=True), Column("chair", "recall", "recall"), Column("chair", "length", "words", per_cent=False),
    Column("amber", "chair", "AMBER CHAIR", lower=True), Column("amber", "discriminative/f1", "AMBER F1"), Column("amber", "amber", "AMBER score"))


def table(found: Row, columns: Sequence[Column] = COLUMNS) -> str:
    """A row an arm. A difference is bold where it is certain after Holm's correction over all primary tests of the model."""
    there = [column for column in columns if any(_is(each, column) for each in found["comparisons"])]
    heads = ["", *(column.head + (" ↓" if column.lower else "") for column in there), "forwards / token", "time"]
    lines = [heads, ["---"] * len(heads), [found["baseline"], *(_level(found, column) for column in there), *_cost(found, found["runs"][0])]]
    for run in found["runs"][1:]:
        lines.append([run["name"], *(_difference(found, run["name"], column) for column in there), *_cost(found, run)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def certain(found: Row) -> list[str]:
    """One sentence for each difference that is certain."""
    said = []
    for each in found["comparisons"]:
        if each["is_primary"] and each["verdict"] in ("better", "worse", "differs"):
            d = each["difference"]
            said.append(f"{each['run']}: {each['benchmark']} {each['metric']} {d['value']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}], "
                        f"p {each['p_holm']:.3f} ({each['verdict']})")
    return said


def _is(each: Row, column: Column) -> bool:
    return bool(each["benchmark"] == column.benchmark and each["metric"] == column.metric)


def _of(found: Row, run: str, column: Column) -> Row | None:
    return next((each for each in found["comparisons"] if each["run"] == run and _is(each, column)), None)


def _level(found: Row, column: Column) -> str:
    each = next(each for each in found["comparisons"] if _is(each, column))
    return _number(each["difference"]["first"]["value"], column)


def _difference(found: Row, run: str, column: Column) -> str:
    each = _of(found, run, column)
    if each is None or each["difference"]["value"] is None:
        return "–"
    d = each["difference"]
    text = f"{_number(d['value'], column, '+')} ({_number(d['low'], column, '+')} to {_number(d['high'], column, '+')})"
    return f"**{text}**" if each["verdict"] in ("better", "worse", "differs") else text


def _number(value: float | None, column: Column, sign: str = "") -> str:
    if value is None:
        return "–"
    return f"{100 * value if column.per_cent else value:{sign}.1f}".replace("-", "−")


def _cost(found: Row, run: Row) -> list[str]:
    """Forward passes a token of captions, where nothing is read off candidates, and time of answering all over the baseline's."""
    passes = run["results"].get("chair", next(iter(run["results"].values())))["cost"].get("forwards_per_token")
    own, plain = (sum(each["cost"].get("seconds") or 0 for each in one["results"].values()) for one in (run, found["runs"][0]))
    return ["–" if passes is None else f"{passes:.2f}", f"×{own / plain:.1f}" if plain else "–"]
