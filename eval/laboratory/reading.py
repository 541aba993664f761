"""The findings in sentences: what helps here, what does not, and what may be chance."""
from collections.abc import Mapping, Sequence

from eval.frame.benchmark import Row
from eval.laboratory.measures import MEASURES

LABELS = {measure.name: measure.label for measure in MEASURES}
BETTER = {measure.name: measure.larger_is_better for measure in MEASURES}


def names(found: Row) -> dict[str, str]:
    """Lever -> what readers call it."""
    return {each["name"]: each["label"] for each in (*found["arms"], *found["rules"])}


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def overall(found: Row) -> str:
    """How many differences are certain, in two sentences."""
    return f"Masks, trained in: {_counted(found['trained'])}. Rules without training: {_counted(found['training_free'])}."


def _counted(comparisons: Sequence[Row]) -> str:
    gains, losses = (sum(each["verdict"] == verdict for each in comparisons) for verdict in ("helps", "harms"))
    won, lost = "gain" if gains == 1 else "gains", "loss" if losses == 1 else "losses"
    return f"{gains} significant {won} and {losses} {lost} in {len(comparisons)} comparisons"


def of_lever(comparisons: Sequence[Row], lever: str) -> str:
    """What is certain about one lever, largest effect first."""
    own = [each for each in comparisons if each["lever"] == lever]
    said = []
    for verdict in ("helps", "harms"):
        certain = sorted((each for each in own if each["verdict"] == verdict), key=lambda each: -abs(each["value"]))
        if certain:
            said.append(f"{verdict} " + ", ".join(f"{LABELS[each['measure']]} ({points(each['value'])})" for each in certain))
    rest = sum(each["verdict"] == "not significant" for each in own)
    return "; ".join(said) + (f"; {rest} other measures: not significant" if rest else "") if said else f"nothing significant in {len(own)} measures"


def sentences(found: Row, key: str) -> list[tuple[str, str]]:
    """(label, sentence) of each lever of a family."""
    called = names(found)
    levers = dict.fromkeys(each["lever"] for each in found[key])
    return [(called[lever], of_lever(found[key], lever) + did_nothing(found["effects"], lever)) for lever in levers]


def did_nothing(effects: Mapping[str, Row], lever: str) -> str:
    """A rule that finds nothing to act on is no rule that fails."""
    effect = effects.get(lever)
    if effect is None:
        return ""
    if effect["moved"] == 0:
        return " — it found nothing to act on: every probability is the model's own"
    return f" — it moved the probabilities of {effect['moved']:.0%} of POPE's answers and changed {effect['changed']:.1%}"


def resolution(comparisons: Sequence[Row]) -> float:
    """Half the median width of the intervals, in percentage points: smaller differences do not show here."""
    widths = sorted(each["high"] - each["low"] for each in comparisons if each["low"] is not None)
    return 50 * widths[len(widths) // 2] if widths else float("nan")
