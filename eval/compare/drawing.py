"""Differences with their intervals, and recall against hallucination, as inline SVG coloured by the page's style sheet."""
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from eval.compare.draws import Level
from eval.report.chart import ticks
from eval.report.numbers import compact

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 220, 50, 14, 12, 38
WHISKER = 150, 18
ASIDE = ((-12, -8), (12, 16), (12, -8), (-12, 16))  # where a run's letter stands, so that those of neighbours do not meet
COLOURS = ("first", "second", "third", "fourth")  # classes of the style sheet


@dataclass(frozen=True)
class Point:
    """A run: letter and place among the runs; the baseline is number 0. x, y: shares."""

    letter: str
    place: int
    x: Level
    y: Level


def whisker(value: float, low: float, high: float, span: tuple[float, float], kind: str) -> str:
    """A difference on an axis of `span` with a line at zero. kind: class of the style sheet."""
    width, height = WHISKER
    middle = height / 2

    def at(x: float) -> float:
        return 4 + (min(max(x, span[0]), span[1]) - span[0]) / (span[1] - span[0]) * (width - 8)

    return (f'<svg class="whisker-cell {kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{100 * value:+.1f} points, from '
            f'{100 * low:+.1f} to {100 * high:+.1f}"><line class="zero" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="0" y2="{height}"/>'
            f'<line class="whisk" x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{middle}" y2="{middle}"/>'
            f'<circle class="point" cx="{at(value):.1f}" cy="{middle}" r="4"/></svg>')


def frontier(title: str, x_label: str, y_label: str, points: Sequence[Point], hint: str = "↖ better", joined: Sequence[int] = ()) -> str:
    """Runs as points with crosses of intervals: hallucination to the right, recall upwards, so better is up and left. In per cent.

    hint: where better lies, for other axes. joined: places of runs that lie on one curve, in its order.
    """
    xs = [100 * each for point in points for each in (point.x.low, point.x.high, point.x.value)]
    ys = [100 * each for point in points for each in (point.y.low, point.y.high, point.y.value)]
    x_ticks, y_ticks = ticks(min(xs), max(xs), 4), ticks(min(ys), max(ys), 4)

    def across(x: float) -> float:
        return LEFT + (100 * x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (100 * y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (HEIGHT - TOP - BOTTOM)

    floor = HEIGHT - BOTTOM
    parts = [f'<svg class="chart frontier" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in y_ticks:
        height = up(tick / 100)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
                     f'<text class="tick" x="{LEFT - 6}" y="{height + 3.5:.1f}" text-anchor="end">{compact(tick)}</text>')
    for tick in x_ticks:
        place = across(tick / 100)
        parts.append(f'<line class="grid" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" y2="{floor}"/>'
                     f'<text class="tick" x="{place:.1f}" y="{floor + 14}" text-anchor="middle">{compact(tick)}</text>')
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
                 f'<text class="axis" transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
                 f'<text class="hint" x="{LEFT + 6}" y="{TOP + 12}">{escape(hint)}</text>')
    at = {point.place: f"{across(point.x.value):.1f},{up(point.y.value):.1f}" for point in points}
    if joined:
        parts.append(f'<polyline class="curve" points="{" ".join(at[place] for place in joined if place in at)}"/>')
    for point in sorted(points, key=lambda point: -point.place):  # the baseline lies on top
        x, y, kind = across(point.x.value), up(point.y.value), COLOURS[point.place % len(COLOURS)]
        aside = ASIDE[point.place % len(ASIDE)]
        left, right, low, high = across(point.x.low), across(point.x.high), up(point.y.low), up(point.y.high)
        parts.append(f'<g class="{kind}"><line class="whisk" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<line class="whisk" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
                     f'<circle class="{"ring" if point.place == 0 else "point"}" cx="{x:.1f}" cy="{y:.1f}" r="{5 if point.place == 0 else 4}"/>'
                     f'<text class="letter" x="{x + aside[0]:.1f}" y="{y + aside[1]:.1f}" text-anchor="middle">{escape(point.letter)}</text></g>')
    return "".join(parts) + "</svg>"
