"""What the page shows of a laboratory, from its JSON alone, so that a run's report can show it too."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from eval.frame.benchmark import Row
from eval.laboratory.drawing import Whisker, forest
from eval.laboratory.measures import MEASURES
from eval.laboratory.reading import BETTER, LABELS, names, overall, points, resolution, sentences
from eval.report.numbers import percent

DRAWN = ("pope/random", "pope/popular", "pope/adversarial", "chair/chair_i", "chair/recall", "skills/attribute")  # in forest plots; all are in tables
KIND = {"helps": "helps", "harms": "harms", "not significant": "open"}
SIGN = {"helps": "✓", "harms": "✗", "not significant": ""}


@dataclass(frozen=True)
class Entry:
    """A cell: a level (`kind` "level") or a difference with its interval."""

    text: str
    note: str = ""
    kind: str = "level"


@dataclass(frozen=True)
class Grid:
    """heads: of the columns, with a note each; rows: a measure's label, a note, and its cells."""

    heads: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, tuple[Entry, ...]], ...]


@dataclass(frozen=True)
class Panel:
    title: str
    note: str
    svg: Markup


@dataclass(frozen=True)
class Family:
    """One family of comparisons. resolution: in points, what would show. every: all of them, for the table of everything."""

    title: str
    about: str
    sentences: tuple[tuple[str, str], ...]
    grid: Grid
    panels: tuple[Panel, ...]
    resolution: float
    every: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    overall: str
    seeds: int
    steps: int
    limit: int
    families: tuple[Family, ...]


def section(found: Row) -> Section:
    """The findings, ready to be shown."""
    settings = found["settings"]
    reads = names(found)[found["reads"]]
    families = (
        _family(found, "trained", "Masks, trained in", "The same model, data, order and seeds; only who sees whom is exchanged. Each is compared "
                "with the control to its left; modality-mutual attention and its control go on from the causal model, on rows of one question."),
        _family(found, "training_free", "Rules without training", f"The models trained with the mask “{reads}”, one a seed, read the same questions "
                "under a rule that moves attention. Published settings, cut to the few layers that there are."))
    return Section(overall(found), len(found["seeds"]), settings["budget"]["steps"], settings["questions"]["limit"], families)


def _family(found: Row, key: str, title: str, about: str) -> Family:
    comparisons, called = found[key], names(found)
    resolved = resolution(comparisons)
    return Family(title, about, tuple(sentences(found, key)), _grid(comparisons, called), _panels(comparisons, called),
                  resolved if math.isfinite(resolved) else 0.0, tuple(_line(each, called) for each in comparisons))


def _grid(comparisons: Sequence[Row], called: Mapping[str, str]) -> Grid:
    levers = list(dict.fromkeys((each["control"], each["lever"]) for each in comparisons))
    columns: list[tuple[str, str]] = []  # (control, "") for a level, (control, lever) for a difference
    for control, lever in levers:
        columns += [(control, "")] * ((control, "") not in columns) + [(control, lever)]
    at = {(each["lever"], each["measure"]): each for each in comparisons}
    rows = []
    for measure in MEASURES:
        cells = []
        for control, lever in columns:
            if lever:
                cells.append(_difference(at[lever, measure.name]))
            else:
                level = next(each["before"] for each in comparisons if (each["control"], each["measure"]) == (control, measure.name))
                cells.append(Entry(percent(level)))
        rows.append((measure.label, "" if measure.larger_is_better else "lower is better", tuple(cells)))
    return Grid(tuple((called[lever or control], "difference" if lever else "level") for control, lever in columns), tuple(rows))


def _difference(each: Row) -> Entry:
    if each["value"] is None:
        return Entry("–", kind="open")
    return Entry(f"{points(each['value'])} {SIGN[each['verdict']]}".strip(), _interval(each), KIND[each["verdict"]])


def _panels(comparisons: Sequence[Row], called: Mapping[str, str]) -> tuple[Panel, ...]:
    drawn = [each for each in comparisons if each["measure"] in DRAWN and each["value"] is not None]
    if not drawn:
        return ()
    ends = [100 * end for each in drawn for end in (each["low"], each["high"], *filter(None, each["by_seed"]))]
    span = min(0.0, *ends), max(0.0, *ends)
    if span[0] == span[1]:
        span = -1.0, 1.0
    panels = []
    for name in DRAWN:
        whiskers = [Whisker(called[each["lever"]], 100 * each["value"], 100 * each["low"], 100 * each["high"],
                            [100 * seed for seed in each["by_seed"] if seed is not None], KIND[each["verdict"]])
                    for each in drawn if each["measure"] == name]
        panels.append(Panel(LABELS[name], "points, more is better" if BETTER[name] else "points, less is better",
                            Markup(forest(LABELS[name], whiskers, span))))
    return tuple(panels)


def _line(each: Row, called: Mapping[str, str]) -> tuple[str, ...]:
    return (called[each["lever"]], called[each["control"]], LABELS[each["measure"]], percent(each["before"]), percent(each["after"]),
            points(each["value"]), _interval(each), " ".join(map(points, each["by_seed"])), f"{each['n']:,}",
            _p(each["mcnemar"]), _p(each["p"]), _p(each["p_holm"]), each["verdict"])


def _interval(each: Row) -> str:
    return f"{points(each['low'])} to {points(each['high'])}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "<0.001"
