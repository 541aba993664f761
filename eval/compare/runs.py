"""What is compared: result files with the answers behind them, matched by benchmark."""
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.frame.benchmark import Row
from eval.frame.result import ARRAY, Result


@dataclass(frozen=True)
class Answered:
    """A result, where it lies, and its judged rows. selector: what its file is called besides benchmark, view, limit and parser: a lever."""

    path: Path
    result: Result
    rows: tuple[Row, ...]
    selector: str

    @property
    def view(self) -> str:
        return str(self.result.settings.get("view", "full"))


@dataclass(frozen=True)
class Run:
    """name: for readers. given: what the user named. results: by benchmark, with ":view" where that is not the full one."""

    name: str
    given: str
    results: dict[str, Answered]


def read_runs(given: Sequence[str], names: Sequence[str] = ()) -> tuple[list[Run], list[str]]:
    """The runs with what all of them share, and remarks on results that are left out: damaged ones, and those that another run lacks.

    given: result files, or folders of results (run directories as well), "folder:lever" for those under a lever. names: of the runs, in order.
    ValueError where fewer than two are given, nothing is shared, or readings differ.
    """
    if len(given) < 2:
        raise ValueError("name two runs or more, the first being the baseline: python -m eval compare runs/demo runs/demo:var")
    if names and len(names) != len(given):
        raise ValueError(f"{len(names)} names are given for {len(given)} runs")
    odd: list[str] = []
    found = [_results(each, odd) for each in given]
    is_file = all(Path(each).is_file() for each in given)
    shared: list[dict[str, tuple[Path, Result]]] = [{} for _ in given]
    left_out = []
    for path, result in found[0].items():
        matches = [_match(result, others, is_file, given[0], other) for others, other in zip(found[1:], given[1:], strict=True)]
        key = result.benchmark + (f":{view}" if (view := result.settings.get("view", "full")) != "full" and not is_file else "")
        if None in matches:
            left_out.append(path.stem)
            continue
        if key in shared[0]:
            raise ValueError(f"{given[0]} holds several results of {key} ({shared[0][key][0].name}, {path.name}); name the files to compare")
        for place, match in zip(shared, [(path, result), *matches], strict=True):
            assert match is not None
            place[key] = match
    if not shared[0]:
        has = "; ".join(f"{name} has {_listed(results)}" for name, results in zip(given, found, strict=True))
        raise ValueError(f"the runs share no benchmark: {has}")
    runs = [{key: _answered(*match) for key, match in results.items()} for results in shared]
    called = list(names) or _names(runs, given)
    remarks = [*odd, *([f"left out, as not every run has it: {', '.join(left_out)}"] if left_out else [])]
    return [Run(name, each, results) for name, each, results in zip(called, given, runs, strict=True)], remarks


def _results(given: str, odd: list[str]) -> dict[Path, Result]:
    """Results of a file, or of a folder, there under one lever. odd: gets a sentence on each file of a folder that is no result. ValueError."""
    path = Path(given)
    if path.is_file():
        return {path: Result.load(path)}
    folder, _, wanted = (given, "", None) if path.is_dir() else given.rpartition(":")
    home = Path(folder) / "eval" if (Path(folder) / "eval").is_dir() else Path(folder)
    if not folder or not home.is_dir():
        raise ValueError(f"there is no result file and no folder {given}; python -m eval pope --model RUN writes RUN/eval/pope.json")
    by_selector: dict[str, dict[Path, Result]] = {}
    for file in sorted(home.glob("*.json")):
        if file.name.endswith(ARRAY):
            continue
        try:
            result = Result.load(file)
        except ValueError as error:
            odd.append(f"left out: {error}")
            continue
        by_selector.setdefault(selector_of(file, result), {})[file] = result
    if not by_selector:
        raise ValueError(f"{home} holds no result file; python -m eval pope --model RUN writes RUN/eval/pope.json")
    if wanted is None:
        wanted = "" if "" in by_selector else next(iter(by_selector)) if len(by_selector) == 1 else None
    if wanted not in by_selector:
        there = ", ".join(name or "without a lever" for name in sorted(by_selector))
        raise ValueError(f"{home} holds results {there}; choose some as {folder or given}:{max(by_selector)}")
    return by_selector[wanted]


def selector_of(path: Path, result: Result) -> str:
    """What a result's file is called besides its benchmark, view, limit and parser."""
    rest = path.stem.removeprefix(result.benchmark)
    limit, view = result.settings.get("limit"), result.settings.get("view", "full")
    for end in (result.parser if result.parser != "official" else None, f"limit{limit}" if limit else None, view if view != "full" else None):
        rest = rest.removesuffix(f"-{end}") if end else rest
    return rest.removeprefix("-")


def _match(result: Result, others: dict[Path, Result], is_file: bool, first: str, second: str) -> tuple[Path, Result] | None:
    """The result of another run that answers what `result` does; None without one. ValueError where only its parser differs."""
    same = {path: other for path, other in others.items() if other.benchmark == result.benchmark and (is_file or all(
        other.settings.get(name) == result.settings.get(name) for name in ("view", "limit")))}
    read = [(path, other) for path, other in same.items() if other.parser == result.parser]
    if same and not read:
        parsers = ", ".join(sorted({other.parser for other in same.values()}))
        raise ValueError(f"{result.benchmark}: answers of {first} are read by the parser {result.parser}, those of {second} by {parsers}, so their "
                         f"numbers do not compare; evaluate one again with --parser {result.parser} (its answers are kept, nothing is asked again)")
    if len(read) > 1:
        several = ", ".join(path.name for path, _ in read)
        raise ValueError(f"{second} holds several results of {result.benchmark} ({several}); name the file to compare")
    return read[0] if read else None


def _answered(path: Path, result: Result) -> Answered:
    file = path.with_suffix(".rows.jsonl")
    if not file.is_file():
        raise ValueError(f"{path} has no answers beside it: {file} is missing. A comparison needs every answer; copy it along, or evaluate again")
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not line:
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{file}, line {number} is damaged ({error}); evaluate again, which asks nothing twice") from error
        if not isinstance(row, dict) or not {"id", "picture", "answer"} <= row.keys():
            raise ValueError(f"{file}, line {number}: expected an object with id, picture and answer, found {line[:80]}")
        rows.append(row)
    if not rows:
        raise ValueError(f"{file} holds no answers")
    return Answered(path, result, tuple(rows), selector_of(path, result))


def _names(runs: Sequence[dict[str, Answered]], given: Sequence[str]) -> list[str]:
    """The model with its lever and view; where that does not tell runs apart, what the user named."""
    found = []
    for results in runs:
        one = next(iter(results.values()))
        model = str((one.result.config.get("model") or {}).get("name") or one.path.parent.name)
        views = {each.view for each in results.values()} - {"full"}
        lever = one.selector or (Path(str(one.result.lever.get("file", "lever"))).stem if one.result.lever else "")
        found.append(" + ".join(filter(None, (model, lever, *(sorted(views) if len(results) == 1 else ())))))
    again = Counter(found)
    named = [name if again[name] == 1 else each for name, each in zip(found, given, strict=True)]
    return [name if named.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(named, 1)]


def _listed(results: dict[Path, Result]) -> str:
    return ", ".join(path.stem for path in results)
