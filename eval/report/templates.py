"""Templates and style of all pages: those of a run's report and of a laboratory, which show each other's parts, of a comparison, and of edits."""
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from eval.report import numbers

EVAL = Path(__file__).parents[1]
HOMES = tuple(EVAL / name for name in ("report", "laboratory", "compare", "edits/report"))


def template(name: str) -> Template:
    """A template by its file's name."""
    environment = Environment(loader=FileSystemLoader(HOMES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": numbers.percent, "plain": numbers.plain, "count": numbers.count, "markup": Markup}
    return environment.get_template(name)


def style(homes: Sequence[str] = ("report", "laboratory")) -> Markup:
    """The style sheets of these packages as one, for a page that needs nothing else."""
    return Markup("\n".join((EVAL / home / "style.css").read_text(encoding="utf-8") for home in homes))
