"""The page itself: gathers its sections and renders them into one HTML file without references to anything outside."""
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from eval.laboratory.files import read
from eval.laboratory.section import section
from eval.report import gallery, scores
from eval.report.gallery import Card
from eval.report.missing import Missing, command_of, evaluation, fit
from eval.report.pointing import Pointing, pointing
from eval.report.run import Filed, Run
from eval.report.templates import style, template
from eval.report.training import training
from mm.models import VLM
from mm.versions import revision, versions

KINDS = ("existence", "attribute", "number", "pair", "relation")
ALARMS, CAPTIONS = 6, 4
T = TypeVar("T")


@dataclass(frozen=True)
class Pictures:
    """What needs the model. answers, alarms: cards of yes/no answers; captions: of the worst captions; missing: why there are none."""

    answers: list[Card]
    alarms: list[Card]
    captions: list[Card]
    pointing: Pointing | None
    missing: list[Missing]


def page(run: Run, places: int = 8, laboratory: Path | None = None) -> str:
    """The HTML of a run. Whatever the run lacks is named with the command that makes it.

    places: N x N are hidden in turn for the maps of what decided an answer, 0 for no such maps. laboratory: file with the findings of one.
    """
    pope, chair, skills = (run.result(name) for name in ("pope", "chair", "skills"))
    return template("page.html.j2").render(
        run=run, name=run.folder.resolve().name, style=style(), summary=scores.summary(run),
        pictures=pictures(run, pope, chair, skills, places), pope=pope, pope_table=pope and scores.pope_table(pope), views=scores.view_bars(run),
        chair=chair, chair_table=chair and scores.chair_table(chair), skills=skills, skill_bars=skills and scores.skill_bars(skills),
        levers=scores.lever_table(run), laboratory=section(read(laboratory)) if laboratory else None, training=training(run.metrics),
        missing=missing(run), commands=commands(run), versions=made_with(run), revisions=revisions(run), settings=settings(run),
        written=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC")


def pictures(run: Run, pope: Filed | None, chair: Filed | None, skills: Filed | None, places: int) -> Pictures:
    """Cards of answers, as far as there are a model, answers and their pictures."""
    missing: list[Missing] = []
    try:
        vlm = VLM.load(run.folder)
    except ValueError as error:
        return Pictures([], [], [], None, [Missing(f"No pictures of where it looked: {error}.", fit(run.folder))])

    def attempt(make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except (ValueError, OSError, KeyError) as error:  # pictures of official data that are elsewhere now, answers of an older version
            missing.append(Missing(f"Some pictures are missing: {error}.", ""))
            return otherwise

    none: list[Card] = []
    by_split = (pope, scores.splits_of(pope) if pope else (), "split")
    answered, kinds, key = (skills, KINDS, "kind") if skills and skills.rows else by_split
    answers = alarms = captions = none
    points = None
    if answered:
        answers = attempt(lambda: gallery.answer_cards(vlm, answered, gallery.examples(answered.rows, kinds, key), key, places), none)
    if pope:
        alarms = attempt(lambda: gallery.answer_cards(vlm, pope, gallery.false_alarms(pope.rows, ALARMS), "split", places), none)
        points = attempt(lambda: pointing(vlm, pope, places), None)
    if chair:
        captions = attempt(lambda: gallery.caption_cards(vlm, chair, gallery.worst_captions(chair.rows, CAPTIONS), places), none)
    return Pictures(answers, alarms, captions, points, missing)


def missing(run: Run) -> dict[str, Missing]:
    """Section -> what it lacks."""
    found = {name: Missing(f"No {label} yet.", evaluation(run.folder, name))
             for name, label in (("pope", "POPE result"), ("chair", "CHAIR result"), ("skills", "result on colours, numbers, pairs and relations"))
             if run.result(name) is None}
    for view, label in (("blind", "blind baseline"), ("context", "context-only baseline")):
        if run.result("pope", view) is None:
            found[view] = Missing(f"No {label} yet.", evaluation(run.folder, "pope", view))
    if not run.metrics:
        found["training"] = Missing("No metrics.jsonl, so no curves.", fit(run.folder))
    if not run.config:
        found["config"] = Missing("No config.yaml.", fit(run.folder))
    return found


def commands(run: Run) -> list[str]:
    """What makes this page again, in a fresh directory."""
    trained = [fit(Path("runs/again"), run.folder / "config.yaml")] if run.config else []
    return [*trained, *(command_of(run.folder, filed) for filed in run.results), f"python -m eval.report {run.folder}"]


def made_with(run: Run) -> dict[str, str]:
    """Package -> version of the evaluations, several where they differ; of this page where there are none."""
    found: dict[str, list[str]] = {}
    for made in [filed.result.versions for filed in run.results] or [versions()]:
        for package, version in made.items():
            found.setdefault(package, []).append(version)
    return {package: ", ".join(dict.fromkeys(values)) for package, values in found.items()}


def revisions(run: Run) -> dict[str, str]:
    """What -> git revision of the source."""
    found: dict[str, str] = {filed.path.stem: filed.result.revision for filed in run.results}
    here = revision()
    if set(found.values()) <= {here}:
        return {"evaluations and this page" if found else "this page": here}
    return {**found, "this page": here}


def settings(run: Run) -> dict[str, str]:
    """Result -> its settings, as they decide the numbers."""
    return {filed.path.stem: json.dumps({"parser": filed.result.parser, **filed.result.settings}, ensure_ascii=False) for filed in run.results}
