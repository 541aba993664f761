"""Forest plots, mask matrices and position maps as inline SVG, coloured by the page's style sheet."""
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from eval.report.chart import ticks

WIDTH, LABELS, ROW, TOP, BOTTOM, RIGHT = 360, 132, 24, 8, 24, 12


@dataclass(frozen=True)
class Whisker:
    """One line of a forest plot: a difference in points with its interval, and that of each seed. kind: class of the style sheet."""

    label: str
    value: float
    low: float
    high: float
    seeds: Sequence[float]
    kind: str


def forest(title: str, whiskers: Sequence[Whisker], span: tuple[float, float]) -> str:
    """An SVG element. span: of the axis, in points."""
    marks = ticks(*span, 4)
    height = TOP + ROW * len(whiskers) + BOTTOM

    def at(x: float) -> float:
        return LABELS + (x - marks[0]) / (marks[-1] - marks[0]) * (WIDTH - LABELS - RIGHT)

    floor = height - BOTTOM
    parts = [f'<svg class="chart forest" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for mark in marks:
        parts.append(f'<line class="{"zero" if mark == 0 else "grid"}" x1="{at(mark):.1f}" x2="{at(mark):.1f}" y1="{TOP}" y2="{floor}"/>'
                     f'<text class="tick" x="{at(mark):.1f}" y="{floor + 15}" text-anchor="middle">{signed(mark)}</text>')
    for place, line in enumerate(whiskers):
        y = TOP + ROW * (place + 0.5)
        parts.append(f'<text class="name" x="{LABELS - 10}" y="{y + 3.5:.1f}" text-anchor="end">{escape(line.label)}</text>')
        parts += [f'<circle class="seed" cx="{at(seed):.1f}" cy="{y:.1f}" r="2"/>' for seed in line.seeds]
        parts.append(f'<line class="whisk {line.kind}" x1="{at(line.low):.1f}" x2="{at(line.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<circle class="point {line.kind}" cx="{at(line.value):.1f}" cy="{y:.1f}" r="4"/>')
    return "".join(parts) + "</svg>"


def signed(value: float) -> str:
    """A tick of an axis of differences: "−5", "0", "+2.5"."""
    return f"{value:+g}".replace("-", "−") if value else "0"


def matrix(visible: Sequence[str], picture: tuple[int, int]) -> str:
    """A mask: queries from top to bottom, keys from left to right; a frame around the picture's own block."""
    size = len(visible)
    path = []
    for y, line in enumerate(visible):
        x = 0
        for sign, run in groupby(line):
            length = len(list(run))
            path.append(f"M{x} {y}h{length}v1h-{length}z" if sign == "1" else "")
            x += length
    begin, end = picture
    frame = f'<rect class="frame" x="{begin}" y="{begin}" width="{end - begin}" height="{end - begin}"/>'
    return (f'<svg class="matrix" viewBox="-0.5 -0.5 {size + 1} {size + 1}" role="img" aria-label="who sees whom">'
            f'<rect class="unseen" width="{size}" height="{size}"/><path class="sees" d="{"".join(path)}"/>{frame}</svg>')


def places(table: Sequence[Sequence[int]]) -> str:
    """Positions of a picture's tokens, in their places, darker where they are nearer to the text."""
    rows, cols = len(table), len(table[0])
    low, high = min(map(min, table)), max(map(max, table))
    parts = [f'<svg class="places" viewBox="0 0 {cols} {rows}" role="img" aria-label="positions of the picture\'s tokens">']
    for y, line in enumerate(table):
        for x, value in enumerate(line):
            strength = 0.12 + 0.6 * (value - low) / max(high - low, 1)
            parts.append(f'<rect class="place" x="{x}" y="{y}" width="0.96" height="0.96" fill-opacity="{strength:.2f}"/>'
                         f'<text x="{x + 0.48}" y="{y + 0.62}" text-anchor="middle">{value}</text>')
    return "".join(parts) + "</svg>"
