"""The page of a comparison: one HTML file without references to anything outside."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from markupsafe import Markup, escape

from eval.compare import wording
from eval.compare.answers import is_parsed, is_right, p_yes, truth_of
from eval.compare.choosing import Chosen, Shown
from eval.compare.drawing import COLOURS, Point, frontier, whisker
from eval.compare.draws import Level
from eval.compare.found import COST
from eval.compare.looking import Map, Maps
from eval.compare.shots import shot
from eval.frame.benchmark import Item, Row
from eval.report.gallery import content, marked, words_of
from eval.report.templates import style, template

ANSWER = 1500  # characters of an answer that are shown
COST_HEADS = {"tokens_per_second": "tokens/s", "forwards_per_token": "forwards a token", "peak_memory_mb": "peak memory, MB"}
BESIDE = ("length", "yes_ratio", "f1")
Tests = Callable[[Row], tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Cell:
    """A run's level, and its difference in words and as a picture. tests: p-values, each with its name."""

    level: str
    text: str
    interval: str
    tests: tuple[tuple[str, str], ...]
    svg: Markup
    kind: str


EMPTY = Cell("–", "", "", (), Markup(""), "open")  # of a run whose way of decoding gives no such figure


@dataclass(frozen=True)
class Line:
    """A metric: its name, which way is better, whether it is tested, the baseline's level, and a difference for each run."""

    label: str
    arrow: str
    is_tested: bool
    level: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Metrics of a benchmark. reach: of the axes, in points."""

    benchmark: str
    lines: tuple[Line, ...]
    reach: str


@dataclass(frozen=True)
class Said:
    """An answer of a run. text: HTML. kind: right, wrong or open."""

    letter: str
    text: Markup
    kind: str
    note: str
    map: Map | None


@dataclass(frozen=True)
class Card:
    """An item. statuses: of each run but the baseline. picture: data URI, "" with `lack` saying why there is none."""

    benchmark: str
    split: str
    id: str
    statuses: tuple[str, ...]
    picture: str
    lack: str
    question: str
    truth: str
    content: str
    said: tuple[Said, ...]

    @property
    def has_maps(self) -> bool:
        return any(each.map for each in self.said)


@dataclass(frozen=True)
class Panel:
    title: str
    svg: Markup


def page(found: Row, choice: Sequence[Chosen], items: dict[str, dict[str, Item]], looked: Maps, remarks: Sequence[str]) -> str:
    """found: what `found.found` gives. choice: the items to show. items: of each benchmark by id, none where they cannot be had here. looked: maps.
    remarks: on what the page lacks."""
    letters = [letter(place) for place in range(len(found["runs"]))]
    cards = [card(each, items.get(each.benchmark, {}), looked.get((each.benchmark, each.id), ()), letters) for part in choice for each in part.items]
    return template("compare.html.j2").render(
        style=style(("report", "laboratory", "compare")), script=Markup((Path(__file__).parent / "filter.js").read_text(encoding="utf-8")),
        found=found, letters=letters, places={run["name"]: place for place, run in enumerate(found["runs"])}, colours=COLOURS,
        headline=wording.headline(found), overview=overview(found), details=details(found),
        flips=sorted(found["flips"], key=_place_of(found["flips"])), panels=panels(found, letters), costs=costs(found), cards=cards, choice=choice,
        remarks=[*found["remarks"], *remarks],
        benchmarks=list(found["runs"][0]["results"]), splits=list(dict.fromkeys(each.split for each in cards if each.split)),
        written=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC")


def letter(place: int) -> str:
    """A for the baseline, then B, C ...; behind Z by number."""
    return ascii_uppercase[place] if place < len(ascii_uppercase) else f"R{place}"


# --- numbers


def overview(found: Row) -> list[Table]:
    """The primary tests of each benchmark, and beside them what they must not be read without."""
    return _tables(found, lambda each: bool(each["is_primary"]) or _stands_beside(each), _corrected)


def details(found: Row) -> list[Table]:
    """All the others."""
    return _tables(found, lambda each: not each["is_primary"] and not _stands_beside(each), _uncorrected)


def _stands_beside(each: Row) -> bool:
    """Also what only the benchmark's own code computes, for that is what it is known by."""
    part, _, metric = each["metric"].rpartition("/")
    return (metric in BESIDE and part != "mean") or each["how"] == "recomputed"


def _place_of(flips: Sequence[Row]) -> Callable[[Row], int]:
    """The runs of a part beside each other."""
    parts = list(dict.fromkeys((each["benchmark"], each["split"]) for each in flips))
    return lambda each: parts.index((each["benchmark"], each["split"]))


def _tables(found: Row, belongs: Callable[[Row], bool], tests: Tests) -> list[Table]:
    parts = [(name, [each for each in found["comparisons"] if each["benchmark"] == name and belongs(each)]) for name in found["runs"][0]["results"]]
    return [_table(name, found, part, tests) for name, part in parts if part]


def _table(name: str, found: Row, comparisons: Sequence[Row], tests: Tests) -> Table:
    shares = [each["difference"] for each in comparisons if each["unit"] == "share" and each["difference"]["low"] is not None]
    reach = max((abs(each[end]) for each in shares for end in ("low", "high", "value")), default=0.0) or 0.01
    lines = []
    for metric in dict.fromkeys(each["metric"] for each in comparisons):
        own = {each["run"]: each for each in comparisons if each["metric"] == metric}
        one = next(iter(own.values()))
        arrow, level = {"more": "↑", "less": "↓"}.get(one["better"], ""), wording.level(one["difference"]["first"]["value"], one["unit"])
        lines.append(Line(wording.label(metric), arrow, one["is_primary"], level,
                          tuple(_cell(own[run["name"]], reach, tests) if run["name"] in own else EMPTY for run in found["runs"][1:])))
    return Table(name, tuple(lines), f"±{100 * reach:.1f}")


def _cell(each: Row, reach: float, tests: Tests) -> Cell:
    found, unit, kind = each["difference"], each["unit"], wording.KIND[each["verdict"]]
    drawn = ""
    if unit == "share" and found["value"] is not None and found["low"] is not None:
        drawn = whisker(found["value"], found["low"], found["high"], (-reach, reach), kind)
    text = f"{wording.change(found['value'], unit)} {wording.SIGN[each['verdict']]}".strip()
    between = wording.between(found["low"], found["high"], unit)
    return Cell(wording.level(found["second"]["value"], unit), text, between, tests(each), Markup(drawn), kind)


def _corrected(each: Row) -> tuple[tuple[str, str], ...]:
    return ("Holm p", wording.p(each["p_holm"])), ("McNemar p", wording.p(each["mcnemar"]))


def _uncorrected(each: Row) -> tuple[tuple[str, str], ...]:
    return (("uncorrected p", wording.p(each["difference"]["p"])),)


def panels(found: Row, letters: Sequence[str]) -> list[Panel]:
    """Recall against hallucination: of captions, and of each split with yes and no."""
    drawn = []
    for name in found["runs"][0]["results"]:
        own = [each for each in found["comparisons"] if each["benchmark"] == name]
        metrics = {each["metric"] for each in own}
        for across, up, title, x_label in (("chair_i", "recall", name, "CHAIR_i, %"), ("chair_i", "f1", name, "CHAIR_i, %"),
                                          ("same_length/chair_i", "same_length/recall", f"{name}, same length", "CHAIR_i, %")):
            if {across, up} <= metrics and (len(letters) == 2 or not across.startswith("same")):
                drawn.append(_panel(title, own, across, up, x_label, letters))
        for metric in sorted(metrics, key=[each["metric"] for each in own].index):
            split, _, last = metric.rpartition("/")
            up = f"{split}/recall" if split else "recall"
            if last == "false_yes" and up in metrics:
                drawn.append(_panel(f"{name} {split}".strip(), own, metric, up, "yes to what is not there, %", letters))
    return [each for each in drawn if each]


def _panel(title: str, own: Sequence[Row], across: str, up: str, x_label: str, letters: Sequence[str]) -> Panel | None:
    xs, ys = ([each["difference"] for each in own if each["metric"] == metric] for metric in (across, up))
    levels = [(xs[0]["first"], ys[0]["first"]), *((x["second"], y["second"]) for x, y in zip(xs, ys, strict=True))]
    if any(level["low"] is None for pair in levels for level in pair):
        return None
    points = [Point(letters[place], place, Level(**x), Level(**y)) for place, (x, y) in enumerate(levels)]
    y_label = "F1, %" if up.endswith("f1") else "recall, %"
    return Panel(f"{title}: {y_label.removesuffix(', %')}", Markup(frontier(f"{y_label} against {x_label}: {title}", x_label, y_label, points)))


def costs(found: Row) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Benchmark -> a row a run: answers, unparsed, and costs with factors of the baseline's."""
    tables = []
    for name, base in found["runs"][0]["results"].items():
        results = [run["results"][name] for run in found["runs"]]
        rows = [(f"{own['n']:,}", f"{own['unparsed']:,}", *(_cost(own["cost"].get(key), base["cost"].get(key), own is base) for key in COST))
                for own in results]
        tables.append((name, rows))
    return tables


def _cost(value: Any, base: Any, is_base: bool) -> str:
    if not isinstance(value, int | float):
        return "–"
    return f"{value:,.2f}" + (f" (×{value / base:.2f})" if not is_base and isinstance(base, int | float) and base else "")


# --- answers


def card(shown: Shown, items: dict[str, Item], looked: Sequence[Map | None], letters: Sequence[str]) -> Card:
    item, row = items.get(shown.id), shown.rows[0]
    picture, lack = "", "no picture: the data lie elsewhere"
    if item is not None:
        try:
            picture = shot(item.media())
        except (ValueError, OSError) as error:
            lack = f"no picture: {error}"
    asked = words_of(item.question) if item is not None else next((str(row[name]) for name in ("text", "question", "query") if name in row), shown.id)
    said = tuple(_said(letters[place], each, looked[place] if looked else None) for place, each in enumerate(shown.rows))
    there = content(str(row["picture"]))
    truth = "" if there and "gt" in row else truth_of(row)  # of a caption, what is there says more than the names of it
    return Card(shown.benchmark, shown.split, shown.id, tuple(" ".join(shown.statuses(place)) for place in range(1, len(shown.rows))), picture, lack,
                asked, truth, there, said)


def _said(letter: str, row: Row, looked: Map | None) -> Said:
    answer, right, p = str(row["answer"]), is_right(row), p_yes(row)
    text = marked(answer[:ANSWER], list(dict.fromkeys(str(word) for word, _ in row.get("hallucinated") or ())))
    notes = ["" if p is None else f"P(yes) {p:.2f}", "" if is_parsed(row) else "unparsed",
             f"… {len(answer) - ANSWER:,} more characters" if len(answer) > ANSWER else ""]
    return Said(letter, Markup(text) if answer.strip() else escape("(empty)"), "open" if right is None else "right" if right else "wrong",
                " · ".join(filter(None, notes)), looked)
