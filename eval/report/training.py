"""How the training went: three charts and a line of numbers from metrics.jsonl."""
from collections.abc import Sequence
from dataclasses import dataclass

from eval.frame.benchmark import Row
from eval.report.chart import Line, line_chart, series, smoothed
from eval.report.numbers import count, duration, percent, plain

SMOOTH = 20  # the running mean of a curve is over a twentieth of the run


@dataclass(frozen=True)
class Chart:
    title: str
    svg: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Training:
    """facts: label and text."""

    charts: tuple[Chart, ...]
    facts: tuple[tuple[str, str], ...]


def training(metrics: Sequence[Row]) -> Training | None:
    """None where nothing was logged."""
    if not metrics:
        return None
    charts = (
        chart("Loss", "nats a labelled token", metrics, "loss", "val/loss"),
        chart("Answer tokens right", "share, teacher forced", metrics, "accuracy", "val/accuracy"),
        speed(metrics))
    return Training(tuple(each for each in charts if each.svg), tuple(facts(metrics)))


def chart(title: str, label: str, metrics: Sequence[Row], train: str, val: str) -> Chart:
    points = series(metrics, train)
    lines = (Line("each row", points, faint=True), Line("training", smoothed(points, max(1, len(points) // SMOOTH))),
             Line("validation", series(metrics, val), "second", dots=True))
    return Chart(title, line_chart(title, label, lines), lines[1:] if lines[2].points else lines[1:2])


def speed(metrics: Sequence[Row]) -> Chart:
    lines = tuple(Line(label, smoothed(points, max(1, len(points) // SMOOTH)), kind) for label, key, kind in (
        ("a second", "samples/s", "first"), ("a CPU-second", "samples/cpu_s", "second")) if (points := series(metrics, key)))
    return Chart("Speed", line_chart("Speed", "samples", lines, from_zero=True), lines)


def facts(metrics: Sequence[Row]) -> list[tuple[str, str]]:
    """Totals of the run and means of its rows."""
    rows = [row for row in metrics if row.get("loss") is not None]
    last = rows[-1] if rows else metrics[-1]
    found = [("steps", count(last["step"]))] if last.get("step") else []
    found += [("samples", count(last["samples"]))] if last.get("samples") else []
    found += [("training time", duration(last["seconds"]))] if last.get("seconds") else []
    found += [("CPU time", duration(last["cpu_seconds"]))] if last.get("cpu_seconds") else []
    if last.get("samples") and last.get("cpu_seconds"):
        found.append(("samples a CPU-second", plain(last["samples"] / last["cpu_seconds"])))
    for label, key in (("padding", "pad"), ("waiting for data", "wait"), ("MFU", "mfu")):
        values = [y for _, y in series(rows, key)]
        found += [(label, percent(sum(values) / len(values)))] if values else []
    return found
