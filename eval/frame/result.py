"""The result file: scores with intervals, and everything that produced them."""
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.frame.benchmark import Row, Scored
from mm.versions import revision, versions

ARRAY = "official.json"  # how the name of a file ends that is an export and no result, though it is .json
TABS = ".txt"


@dataclass(frozen=True)
class Result:
    """One benchmark, one model, one lever. scores: metric -> {value, low, high, n}, None where undefined. cost: `eval.frame.cost.total`, the only
    field in which two runs of the same command differ (`untimed`)."""

    benchmark: str
    scores: dict[str, Row]
    n: int
    unparsed: int
    remarks: list[str]
    parser: str
    settings: Row
    lever: Row | None
    config: Row
    versions: dict[str, str]
    revision: str
    cost: Row

    @staticmethod
    def of(
        benchmark: str, scored: Scored, parser: str, settings: Row, lever: Row | None, config: Row, cost: Row,
    ) -> "Result":
        return Result(
            benchmark, {name: finite(asdict(score)) for name, score in scored.scores.items()}, scored.n,
            scored.unparsed, list(scored.remarks), parser, settings, lever, config, dict(versions()), revision(), cost)

    def save(self, path: Path) -> None:
        """Write as JSON; a reader never sees half a file."""
        write(path, json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @staticmethod
    def load(path: str | Path) -> "Result":
        try:
            return Result(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path} is not a result file: {error}") from error

    def table(self) -> str:
        """Plain text: one metric a line with its interval, n and the number of unparsed answers."""
        width = max(len(name) for name in self.scores)
        lines = [f"{self.benchmark}: n {self.n}, unparsed {self.unparsed}, parser {self.parser}"]
        for name, score in self.scores.items():
            if score["value"] is None:
                lines.append(f"  {name:<{width}}   undefined")
            else:
                lines.append(f"  {name:<{width}}  {score['value']:7.4f}  [{score['low']:.4f}, {score['high']:.4f}]  n {score['n']}")
        return "\n".join(lines + [f"  note: {remark}" for remark in self.remarks])


def untimed(result: Row) -> Row:
    """The content of a result file without what differs between two runs of the same command."""
    return {name: value for name, value in result.items() if name != "cost"}


def write(path: Path, content: str | bytes) -> None:
    """Replace a file in one step, on the disk when this returns. Bytes of a name that are no UTF-8, which Python holds as lone surrogates, are
    written as JSON escapes them."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode(errors="backslashreplace"))
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def write_files(folder: Path, stem: str, files: Mapping[str, Iterable[Row]]) -> list[Path]:
    """JSON-lines files `<stem>.<name>.jsonl`, as a benchmark exports them; arrays where the name ends in `ARRAY`, and lines of values between tabs
    where it ends in `TABS`. A slash in a name makes a folder."""
    written = []
    for name, rows in files.items():
        as_it_is = name.endswith((ARRAY, TABS))
        written.append(folder / (f"{stem}.{name}" if as_it_is else f"{stem}.{name}.jsonl"))
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        lines = [_tabbed(row) if name.endswith(TABS) else json.dumps(row, ensure_ascii=False) for row in rows]
        write(written[-1], "[\n" + ",\n".join(lines) + "\n]\n" if name.endswith(ARRAY) else "".join(line + "\n" for line in lines))
    return written


def _tabbed(row: Row) -> str:
    """Tabs and ends of lines within a value become blanks, so that a line stays a line."""
    return "\t".join(re.sub(r"[\t\r\n]", " ", str(value)) for value in row.values())


def finite(value: Any) -> Any:
    """Plain values, tuples as lists, with None in place of every number that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value
