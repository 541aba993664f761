"""Line charts as inline SVG: a few kilobytes, sharp at every size, coloured by the page's style sheet, light and dark."""
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from eval.frame.benchmark import Row
from eval.report.numbers import compact

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 40  # margins


@dataclass(frozen=True)
class Line:
    """points: (x, y) in order of x. kind: class of the style sheet, "first" or "second"; faint: drawn thin, as the noise behind another line.
    dots: mark each point, for lines of few points."""

    label: str
    points: Sequence[tuple[float, float]]
    kind: str = "first"
    faint: bool = False
    dots: bool = False


def series(rows: Iterable[Row], key: str) -> list[tuple[float, float]]:
    """(step, value) of the rows that have a finite value under `key`."""
    found = [(row.get("step"), row.get(key)) for row in rows]
    return [(float(x), float(y)) for x, y in found if isinstance(x, int | float) and isinstance(y, int | float) and math.isfinite(y)]


def smoothed(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """Mean over the last `window` points."""
    values = [y for _, y in points]
    return [(x, sum(values[max(0, i + 1 - window):i + 1]) / min(i + 1, window)) for i, (x, _) in enumerate(points)]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that span [low, high]."""
    span = high - low or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / about))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * i, 10) for i in range(first, max(last, first + 1) + 1)]


def line_chart(title: str, y_label: str, lines: Sequence[Line], x_label: str = "step", from_zero: bool = False) -> str:
    """An SVG element, "" where no line has two points."""
    drawn = [line for line in lines if len(line.points) > 1 or (line.dots and line.points)]
    if not any(len(line.points) > 1 for line in drawn):
        return ""
    xs, ys = [x for line in drawn for x, _ in line.points], [y for line in drawn for _, y in line.points]
    x_ticks, y_ticks = ticks(0, max(xs), 4), ticks(0 if from_zero else min(ys), max(ys))

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]), (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for y in y_ticks:
        _, height = at(0, y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
                     f'<text class="tick" x="{LEFT - 6}" y="{height + 3.5:.1f}" text-anchor="end">{compact(y)}</text>')
    for x in x_ticks:
        place, floor = at(x, y_ticks[0])
        parts.append(f'<text class="tick" x="{place:.1f}" y="{floor + 15:.1f}" text-anchor="middle">{compact(x)}</text>')
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
                 f'<text class="axis" transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    for line in drawn:
        places = [at(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line {line.kind}{" faint" if line.faint else ""}" points="{path}"/>')
        parts += [f'<circle class="dot {line.kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in (places if line.dots else ())]
    return "".join(parts) + "</svg>"
