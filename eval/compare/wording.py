"""How metrics, differences and costs are called and written on the page."""
from eval.frame.benchmark import Row
from eval.laboratory.reading import points
from eval.report.numbers import NONE, percent, plain

LABELS = {"chair_s": "CHAIR_s", "chair_i": "CHAIR_i", "f1": "F1", "auc": "AUC", "ece": "calibration error", "brier": "Brier score",
          "yes_ratio": "yes-ratio", "logp_accuracy": "accuracy of the likelier word",
          "false_yes": "yes to what is not there", "length": "length, words"}
KIND = {"better": "helps", "worse": "harms", "differs": "differs", "not certain": "open", "": "open"}  # classes of the style sheet
SIGN = {"better": "✓", "worse": "✗", "differs": "≠", "not certain": "", "": ""}


def label(metric: str) -> str:
    """"random/f1" as "F1, random"; "same_length/recall" as "recall, same length"."""
    part, _, name = metric.rpartition("/")
    return LABELS.get(name, name) + (f", {part.replace('_', ' ')}" if part else "")


def level(value: float | None, unit: str) -> str:
    return percent(value) if unit == "share" else plain(value, 2)


def change(value: float | None, unit: str) -> str:
    """A difference in points, or as a number, with its sign."""
    if value is None:
        return NONE
    text = points(value) if unit == "share" else f"{value:+.2f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]  # what rounds to nothing has no sign


def between(low: float | None, high: float | None, unit: str) -> str:
    return NONE if low is None or high is None else f"{change(low, unit)} to {change(high, unit)}"


def p(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}" if value >= 0.001 else "<0.001"


def headline(found: Row) -> str:
    """What is certain about each run, in one sentence."""
    if len(found["runs"]) > 2 and all(each["verdict"] in ("", "not certain") for each in found["comparisons"]):
        return f"{len(found['runs']) - 1} runs against {found['baseline']}: no certain difference in {found['family']['tests']} tests."
    said = []
    for run in found["runs"][1:]:
        verdicts = [each["verdict"] for each in found["comparisons"] if each["run"] == run["name"] and each["is_primary"]]
        certain = [f"{said_as} in {count}" for kind, said_as in (("better", "better"), ("worse", "worse"), ("differs", "different"))
                   if (count := verdicts.count(kind))]
        what = f"certainly {' and '.join(certain)} of {len(verdicts)} tests" if certain else f"no certain difference in {len(verdicts)} tests"
        said.append(f"{run['name']}: {what}")
    return "; ".join(said) + "."
