"""One self-contained HTML page of a laboratory, in the style of a run's report."""
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from eval.frame.benchmark import Row
from eval.laboratory.drawing import matrix, places
from eval.laboratory.section import section
from eval.report.chart import Line, line_chart
from eval.report.numbers import percent
from eval.report.templates import style, template

KINDS = ("first", "second", "third", "fourth")  # of lines, in the style sheet


@dataclass(frozen=True)
class ArmCard:
    """A mask with its pictures. mass: share of the answering row's attention on the picture, by layer."""

    label: str
    about: str
    matrix: Markup
    places: Markup
    mass: str


@dataclass(frozen=True)
class Curves:
    """Losses of arms that were trained on the same rows. lines: label and kind."""

    title: str
    svg: Markup
    lines: tuple[tuple[str, str], ...]


def page(found: Row) -> str:
    """The HTML of what `Laboratory.run` returned."""
    return template("laboratory.html.j2").render(
        style=style(), found=found, laboratory=section(found), cards=cards(found), curves=curves(found), command=command(found),
        count_answers=sum(found["n"].values()), count_unparsed=sum(found["unparsed"].values()), written=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC")


def command(found: Row) -> str:
    """What makes it again, in a fresh directory."""
    budget, questions = found["settings"]["budget"], found["settings"]["questions"]
    options = {**budget, **questions, "seeds": " ".join(map(str, found["seeds"]))}
    return "python -m eval.laboratory runs/laboratory " + " ".join(f"--{name} {value}" for name, value in options.items())


def cards(found: Row) -> list[ArmCard]:
    made = []
    for arm in found["arms"]:
        seen = found["seeing"][arm["name"]]
        mass = " · ".join(percent(each, 0) for each in found["picture_mass"][arm["name"]])
        drawn = Markup(matrix(seen["visible"], tuple(seen["picture"]))), Markup(places(seen["places"]))
        made.append(ArmCard(arm["label"], arm["about"], *drawn, mass))
    return made


def curves(found: Row) -> list[Curves]:
    """The mean over seeds of each arm, and the seeds behind it: a chart of those from scratch, one of those that go on."""
    made = []
    for title, later in (("From scratch", False), ("One question a row, from the causal model", True)):
        arms = [arm for arm in found["arms"] if (arm["after"] is not None) == later]
        lines = [line for arm, kind in zip(arms, KINDS, strict=False) for line in _lines(found["curves"][arm["name"]], kind)]
        svg = line_chart(title, "loss, nats a token", lines)
        made.append(Curves(title, Markup(svg), tuple((arm["label"], kind) for arm, kind in zip(arms, KINDS, strict=False))))
    return made


def _lines(runs: Sequence[Sequence[Row]], kind: str) -> list[Line]:
    seeds = [Line("", [(row["step"], row["loss"]) for row in run], kind, faint=True) for run in runs]
    losses = {row["step"]: [one["loss"] for run in runs for one in run if one["step"] == row["step"]] for row in runs[0]}
    return [*seeds, Line("", [(step, sum(each) / len(each)) for step, each in losses.items()], kind)]
