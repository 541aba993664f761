"""Tables and sentences from results: what the page says in numbers. Pure functions of result files."""
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from eval.frame.benchmark import Row
from eval.report.numbers import count, interval, percent, plain
from eval.report.run import Filed, Run

SPLITS = ("random", "popular", "adversarial")
VIEWS = {"full": "picture", "context": "background only", "blind": "black picture"}
SKILLS = {
    "existence": "is the shape there", "attribute": "its colour", "number": "how many", "pair": "colour and shape together",
    "relation": "left, right, above, below", "systematic": "pairs never seen in training", "distractor": "among eight objects",
    "productive": "two or three pairs at once"}
CHAIR = {
    "chair_i": ("CHAIR_i", "object words that name nothing in the picture"), "chair_s": ("CHAIR_s", "captions with at least one such word"),
    "recall": ("recall", "objects of the pictures that the captions name")}


@dataclass(frozen=True)
class Cell:
    """A number and, smaller, its interval."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """heads: of the columns; rows: a name and cells each."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Bar:
    """A share with its interval, on a track from 0 to 1. mark: where chance lies."""

    label: str
    note: str
    score: Row
    kind: str = "first"
    mark: float | None = 0.5

    @property
    def text(self) -> str:
        return percent(self.score["value"])

    @property
    def interval(self) -> str:
        return interval(self.score)


@dataclass(frozen=True)
class Figure:
    """A headline number."""

    label: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class Summary:
    """verdict: one sentence. figures: the headline numbers."""

    verdict: str
    figures: tuple[Figure, ...] = field(default=())


def score(filed: Filed | None, name: str) -> Row | None:
    """A score of a result; None where there is no such result or score, or it is undefined."""
    found = filed.result.scores.get(name) if filed else None
    return found if found and found.get("value") is not None else None


def shares(scores: Mapping[str, Row], names: Iterable[str]) -> tuple[Cell, ...]:
    return tuple(Cell(percent(scores[name]["value"]), interval(scores[name])) if name in scores else Cell("–") for name in names)


def splits_of(filed: Filed) -> list[str]:
    return [name.removesuffix("/accuracy") for name in filed.result.scores if name.endswith("/accuracy") and not name.startswith("mean/")]


def pope_table(filed: Filed) -> Table:
    scores, metrics = filed.result.scores, ("accuracy", "precision", "recall", "f1", "yes_ratio")
    rows = [(split, (*shares(scores, [f"{split}/{metric}" for metric in metrics]), Cell(count(scores[f"{split}/accuracy"]["n"]))))
            for split in splits_of(filed)]
    if "mean/accuracy" in scores:
        rows.append(("mean", (*shares(scores, [f"mean/{metric}" for metric in metrics]), Cell(count(filed.result.n)))))
    return Table(("absent objects", "accuracy", "precision", "recall", "F1", "yes-ratio", "n"), tuple(rows))


def view_bars(run: Run) -> list[tuple[str, list[Bar]]]:
    """Accuracy a split with the picture, with its background only, and blind; and what is missing has no bar."""
    found = {view: run.result("pope", view) for view in VIEWS}
    main = found["full"]
    return [(split, [Bar(VIEWS[view], "", value, "first" if view == "full" else "second")
                     for view, filed in found.items() if (value := score(filed, f"{split}/accuracy"))])
            for split in (splits_of(main) if main else ())]


def chair_table(filed: Filed) -> Table:
    scores = filed.result.scores
    rows = [(name, (Cell(percent(scores[key]["value"]), interval(scores[key])), Cell(meaning), Cell(count(scores[key]["n"]))))
            for key, (name, meaning) in CHAIR.items() if key in scores]
    if "length" in scores:
        length = scores["length"]
        around = "" if length["value"] is None else f"{plain(length['low'])}–{plain(length['high'])}"
        rows.append(("length", (Cell(plain(length["value"]), around), Cell("words a caption; both rates grow with it"), Cell(count(length["n"])))))
    return Table(("", "value", "", "n"), tuple(rows))


def skill_bars(filed: Filed) -> list[Bar]:
    kinds = [name.removesuffix("/accuracy") for name in filed.result.scores if name.endswith("/accuracy")]
    return [Bar(kind, SKILLS.get(kind, ""), value) for kind in kinds if (value := score(filed, f"{kind}/accuracy"))]


def lever_table(run: Run) -> Table | None:
    """Main scores with each lever beside those without; None where no lever was tried."""
    names = [("pope", f"{split}/accuracy", split) for split in SPLITS] + [("chair", key, CHAIR[key][0]) for key in CHAIR]
    rows = []
    for lever in (None, *run.levers):
        found = {benchmark: run.result(benchmark, lever=lever) for benchmark in ("pope", "chair")}
        cells = tuple(Cell(percent(value["value"]), interval(value)) if (value := score(found[benchmark], name)) else Cell("–")
                      for benchmark, name, _ in names)
        rows.append((lever or "as trained", cells))
    return Table(("lever", *(label for _, _, label in names)), tuple(rows)) if run.levers else None


def summary(run: Run) -> Summary:
    """The verdict in one sentence and the figures behind it."""
    pope, blind, chair, skills = run.result("pope"), run.result("pope", "blind"), run.result("chair"), run.result("skills")
    headline = [(f"existence, {split}", pope, f"{split}/accuracy") for split in SPLITS] + [
        ("existence, blind", blind, "random/accuracy"), ("attribute", skills, "attribute/accuracy"),
        *((CHAIR[key][0] if key != "recall" else "caption recall", chair, key) for key in CHAIR)]
    figures = [Figure(label, percent(value["value"]), interval(value)) for label, filed, name in headline if (value := score(filed, name))]
    return Summary(verdict(pope, run.result("pope", "context"), blind), tuple(figures))


def verdict(pope: Filed | None, context: Filed | None, blind: Filed | None) -> str:
    """One sentence: whether it sees, and whether it makes things up. Differences count where intervals part."""
    easy, hard = score(pope, "random/accuracy"), score(pope, "adversarial/accuracy")
    if easy is None:
        return "Not evaluated yet: the numbers below are those of training."
    right = f"{percent(easy['value'])} of its answers on whether a shape is there are right"
    if easy["low"] <= 0.5:
        return f"It does not see yet: {right}, and a coin would reach half."
    for filed, what in ((blind, "a black picture"), (context, "the background alone")):
        habit = score(filed, "random/accuracy")
        if habit and easy["low"] <= habit["high"]:
            return f"It guesses more than it sees: {right}, and {percent(habit['value'])} with {what}."
    if hard is None:
        return f"It sees: {right}."
    if hard["high"] < easy["low"]:
        return f"It sees, and it makes things up: {right}, but {percent(hard['value'])} when the absent shape is one that usually belongs there."
    return f"It sees, and habit does not mislead it: {right}, and {percent(hard['value'])} when the absent shape is one that usually belongs there."
