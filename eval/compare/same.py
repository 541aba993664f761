"""Whether two runs were asked the same, and what differs between them besides the method."""
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.compare.runs import Answered, Run
from eval.frame.benchmark import Benchmark, Row
from eval.frame.paired import aligned

ANSWER = ("answer", "logp", "tokens")
ASKED = ("text", "question", "query", "label", "truth", "objects", "candidates")  # where another model's reply stands among the fields of a row
HARMLESS = ("batch_size",)  # of settings: rounding apart, answers do not depend on it
SEARCH = ("greedy", "num_beams", "method")  # of settings of decoding
ABSENT = "not stated"


@dataclass(frozen=True)
class Differs:
    """A setting that two runs do not share. first, second: its values, as JSON."""

    what: str
    first: str
    second: str


def paired(benchmark: Benchmark, name: str, first: Answered, second: Answered) -> list[Row]:
    """Rows of `second` in the order of those of `first`. ValueError that names an item where the runs were not asked the same."""
    try:
        pairs = aligned(first.rows, second.rows)
    except ValueError as error:
        raise ValueError(f"{name}: {error}; {first.path} and {second.path} do not compare") from error
    fields = _asked_fields(benchmark, first)
    for one, other in pairs:
        wrong = next((field for field in ("picture", *fields) if one.get(field) != other.get(field)), None)
        if wrong:
            raise ValueError(f"{name}: item {one['id']} is not the same in both runs: its {wrong} is {one.get(wrong)!r} in {first.path} and "
                             f"{other.get(wrong)!r} in {second.path}; evaluate both on the same data")
    return [other for _, other in pairs]


def _asked_fields(benchmark: Benchmark, answered: Answered) -> list[str]:
    """Fields of a row that say what was asked and what is true: all that neither the model nor the judge wrote."""
    row = answered.rows[0]
    if type(benchmark).consult is not Benchmark.consult:
        return [name for name in ASKED if name in row]
    try:
        verdict = benchmark.judge(row, answered.result.parser)
    except (ValueError, OSError, KeyError):  # its vocabulary lies elsewhere now
        return [name for name in ASKED if name in row]
    return [name for name in row if name not in ANSWER and name not in verdict]


# --- what differs


def method(first: Run, second: Run) -> list[Differs]:
    """What two runs are meant to differ by: the weights and the lever."""
    return _distinct(_differing({"model": _model(one), "lever": one.result.lever}, {"model": _model(other), "lever": other.result.lever}, depth=1)
                     for one, other in _both(first, second))


def besides(first: Run, second: Run) -> list[Differs]:
    """Settings that decide answers or scores and that the runs do not share: prompts, decoding, data, view. How a lever's own way of decoding
    searches is the method."""
    return _distinct(_differing(_deciding(one, searches), _deciding(other, searches)) for one, other in _both(first, second)
                     for searches in (_searches(one) or _searches(other),))


def harmless(first: Run, second: Run) -> list[Differs]:
    """What should not matter and differs: batch size, versions, revision."""
    return _distinct(_differing(_rest(one), _rest(other)) for one, other in _both(first, second))


def _both(first: Run, second: Run) -> list[tuple[Answered, Answered]]:
    return [(first.results[name], second.results[name]) for name in first.results]


def _model(answered: Answered) -> Any:
    return answered.result.config.get("model")


def _searches(answered: Answered) -> bool:
    return "decoding" in (answered.result.lever or {})


def _deciding(answered: Answered, searches: bool) -> Row:
    settings = {name: value for name, value in answered.result.settings.items() if name not in HARMLESS}
    decoding = settings.get("decoding")
    if searches and isinstance(decoding, Mapping):
        settings["decoding"] = {name: value for name, value in decoding.items() if name not in SEARCH}
    return settings


def _rest(answered: Answered) -> Row:
    result = answered.result
    return {**{name: result.settings.get(name) for name in HARMLESS}, "versions": result.versions, "revision": result.revision}


def _differing(first: Mapping[str, Any], second: Mapping[str, Any], depth: int = 3, above: str = "") -> list[Differs]:
    found = []
    for name in {**first, **second}:
        one, other = first.get(name, ABSENT), second.get(name, ABSENT)
        if one == other:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping) and depth > 1:
            found += _differing(one, other, depth - 1, f"{above}{name}.")
        else:
            found.append(Differs(f"{above}{name}", _written(one), _written(other)))
    return found


def _written(value: Any) -> str:
    return ABSENT if value == ABSENT else json.dumps(value, ensure_ascii=False)


def _distinct(found: Iterable[Sequence[Differs]]) -> list[Differs]:
    return list(dict.fromkeys(each for one in found for each in one))
