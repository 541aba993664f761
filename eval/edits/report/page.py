"""The page of a run's edits: one HTML file without references to anything outside."""
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from eval.compare.drawing import COLOURS, Point, frontier
from eval.compare.draws import Level
from eval.compare.page import letter
from eval.edits.report.cards import best, cards
from eval.edits.report.run import Arm, Run, evaluation, fit
from eval.edits.table import WORLD, Column
from eval.frame.benchmark import Row
from eval.report.missing import Missing
from eval.report.numbers import percent
from eval.report.templates import style, template
from eval.report.training import Chart, chart, facts, speed
from mm.versions import revision, versions

KINDS = {"colour": "Colour swaps", "shape": "Shape swaps"}


@dataclass(frozen=True)
class Cell:
    text: str
    interval: str


@dataclass(frozen=True)
class Line:
    """A row of the table. place: decides letter and colour."""

    letter: str
    colour: str
    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    kind: str
    title: str
    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    remarks: tuple[str, ...]
    panels: tuple[tuple[str, Markup], ...]


def page(run: Run) -> str:
    """The HTML of a run. Whatever it lacks is named with the command that makes it."""
    found = cards(run)
    shown = best({kind: run.controlled(kind) for kind in run.arms})
    names = list(dict.fromkeys(take.name for card in found for take in card.takes))
    return template("edits.html.j2").render(
        style=style(("report", "laboratory", "compare", "edits/report")), run=run, name=run.folder.resolve().name, kinds=KINDS, names=names,
        script=Markup((Path(__file__).parent / "cards.js").read_text(encoding="utf-8")), headline=headline(run, shown), cards=found, best=shown,
        tables=[table(run, kind) for kind in run.arms], charts=charts(run.metrics), facts=facts(run.metrics) if run.metrics else [],
        missing=missing(run), commands=commands(run), versions=made_with(run), revisions=revisions(run),
        settings={f"{kind}, {arm.name}": json.dumps({**arm.result.recipe, **arm.result.settings}, ensure_ascii=False)
                  for kind, arms in run.arms.items() for arm in arms},
        written=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC")


def headline(run: Run, shown: dict[str, str]) -> str:
    """What the page shows, in a sentence."""
    parts = []
    for kind, name in shown.items():
        arm, plain = next(arm for arm in run.controlled(kind) if arm.name == name), run.plain(kind)
        edit, kept = _shares(arm)
        against = "" if plain is None else ", against {} and {} without control".format(*_shares(plain))
        parts.append(f"{KINDS[kind]}: {edit} recognised, the other object kept in {kept}{against}")
    return ". ".join(parts) + "." if parts else "No edits yet."


def _shares(arm: Arm) -> tuple[str, str]:
    return percent(_value(arm, "edit_recognised"), 0), percent(_value(arm, "other_kept"), 0)


def table(run: Run, kind: str) -> Table:
    arms = run.arms[kind]
    columns = [column for column in WORLD if any(_value(arm, column.metric) is not None for arm in arms)]
    lines = tuple(Line(letter(place), COLOURS[place % len(COLOURS)], arm.name,
                       tuple(_cell(arm.result.scores.get(column.metric), column) for column in columns)) for place, arm in enumerate(arms))
    n = arms[0].result.scores.get("source_right", {}).get("n", arms[0].result.n)
    remarks = tuple(dict.fromkeys(remark for arm in arms for remark in arm.result.remarks))
    return Table(kind, f"{KINDS[kind]}, {n} pairs", tuple(column.head for column in columns), lines, remarks, tuple(panels(kind, arms)))


def panels(kind: str, arms: Sequence[Arm]) -> list[tuple[str, Markup]]:
    """The trade-off: the further up and right, the better, then the further down and right."""
    found = []
    for metric, label, hint in (("target_iou", "target IoU, %", "better ↗"), ("other_mse", "other-object MSE × 100", "better ↘")):
        points = [Point(letter(place), place, Level(*x), Level(*y)) for place, arm in enumerate(arms)
                  if (x := _level(arm, "edit_recognised")) and (y := _level(arm, metric))]
        if len(points) > 1:
            title = f"{KINDS[kind]}: {label} against edits recognised"
            found.append((title, Markup(frontier(title, "edit recognised, %", label, points, hint, joined=range(1, len(arms))))))
    return found


def charts(metrics: Sequence[Row]) -> list[Chart]:
    return [each for each in (chart("Loss", "mean squared error", metrics, "loss", "val/loss"), speed(metrics)) if each.svg] if metrics else []


def missing(run: Run) -> dict[str, Missing]:
    """Part -> what it lacks."""
    found = {kind: Missing(f"No {KINDS[kind].lower()} yet.", f"{evaluation(run.folder)} --kinds [{kind}]") for kind in KINDS if kind not in run.arms}
    if not (run.folder / "pipeline").is_dir():
        found["model"] = Missing("No pipeline.", fit(run.folder))
    if not run.metrics:
        found["training"] = Missing("No metrics.jsonl, so no curves.", fit(run.folder))
    if not run.config:
        found["config"] = Missing("No config.yaml.", fit(run.folder))
    return found


def commands(run: Run) -> list[str]:
    """What makes this page again."""
    made = []
    for kind, arms in run.arms.items():
        recipes = " ".join(f"configs/edit/table/{arm.name}.yaml" for arm in run.controlled(kind))
        made.append(f"{evaluation(run.folder, recipes, arms[0].result.settings.get('size', 64))} --kinds [{kind}]")
    return [fit(run.folder), *made, f"python -m eval.edits.report {run.folder}"]


def made_with(run: Run) -> dict[str, str]:
    """Package -> version, several where results differ; of this page where there are none."""
    found: dict[str, list[str]] = {}
    for made in [arm.result.versions for arms in run.arms.values() for arm in arms] or [versions()]:
        for package, version in made.items():
            found.setdefault(package, []).append(version)
    return {package: ", ".join(dict.fromkeys(values)) for package, values in found.items()}


def revisions(run: Run) -> list[str]:
    return list(dict.fromkeys([*(arm.result.revision for arms in run.arms.values() for arm in arms), revision()]))


def _value(arm: Arm, metric: str) -> float | None:
    found = arm.result.scores.get(metric, {}).get("value")
    return None if found is None else float(found)


def _level(arm: Arm, metric: str) -> tuple[float, float, float] | None:
    score = arm.result.scores.get(metric, {})
    ends = [score.get(end) for end in ("value", "low", "high")]
    return None if None in ends else (float(ends[0]), float(ends[1]), float(ends[2]))  # type: ignore[arg-type]


def _cell(score: Row | None, column: Column) -> Cell:
    if score is None or score["value"] is None:
        return Cell("–", "")
    value, low, high = ("–" if score[end] is None else f"{score[end] * column.times:.{column.digits}f}" for end in ("value", "low", "high"))
    return Cell(value, f"{low}–{high}")


