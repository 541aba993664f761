"""python -m eval.clients.vlmevalkit export pope --out LMUData/POPE_world.tsv [--limit N] [--pope.k 3 ...]
python -m eval.clients.vlmevalkit score pope --predictions outputs/M/M_POPE_world.xlsx --out scored [--parser vlmevalkit] [--limit N] [--pope.k 3 ...]

Writes a benchmark as a TSV of VLMEvalKit, and judges the predictions that it writes with our scorers: answers are matched by their index, so the
options of the benchmark have to be those of the export. docs/vlmevalkit.md says what to run in between.
"""
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.clients.asked import parse
from eval.clients.predictions import predictions
from eval.clients.table import entries, write_table
from eval.frame.benchmark import Benchmark
from eval.frame.result import Result, write_files
from eval.frame.runner import limited
from eval.parsers import Reader


@dataclass(frozen=True)
class Export:
    """
    Args:
        out: the .tsv file. Name it like no dataset of VLMEvalKit: it downloads those again where the file differs from its own.
        limit: questions about the first N pictures of each split only.
    """

    out: str
    limit: int | None = None


@dataclass(frozen=True)
class Score:
    """
    Args:
        predictions: the .xlsx, .tsv or .json that VLMEvalKit wrote.
        out: folder of the result.
        parser: how answers are read.
        limit: that of the export.
    """

    predictions: str
    out: str
    parser: Reader = "vlmevalkit"
    limit: int | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr."""
    verb, *given = (sys.argv[1:] if arguments is None else arguments) or [""]
    try:
        if verb not in ("export", "score"):
            raise ValueError(f"say export or score first, then the benchmark; got {verb!r}\n{__doc__}")
        prog = f"python -m eval.clients.vlmevalkit {verb}"
        if verb == "export":
            options, benchmarks = parse(prog, __doc__ or "", Export, given)
            _, benchmark = _only(benchmarks)
            print(export(benchmark, Path(options.out), options.limit))
        else:
            asked, benchmarks = parse(prog, __doc__ or "", Score, given)
            print(score(*_only(benchmarks), asked).table())
    except (ValueError, OSError) as error:
        print(f"eval.clients.vlmevalkit: {error}", file=sys.stderr)
        return 2
    return 0


def export(benchmark: Benchmark, out: Path, limit: int | None = None) -> str:
    """Writes the TSV, and returns what was written. ValueError for another suffix, and where no item has a picture."""
    if out.suffix != ".tsv":
        raise ValueError(f"{out}: VLMEvalKit reads .tsv files; name it like that")
    items = limited(benchmark.items(), limit)
    found = entries(items)
    if not found:
        raise ValueError(f"{type(benchmark).__name__} has no item with a picture")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(found, out)
    left = len(items) - sum(len(entry.items) for entry in found)
    return f"{out}: {len(found)} rows for {len(items) - left} items" + f"; {left} items without a picture are left out" * bool(left)


def score(name: str, benchmark: Benchmark, options: Score) -> Result:
    """Judges the predictions and writes the result, the rows, and the answers in the benchmark's official format."""
    if options.parser not in benchmark.parsers:
        raise ValueError(f"{name} has the parsers {', '.join(benchmark.parsers)}; got --parser {options.parser}")
    benchmark.check(options.parser)
    path, folder = Path(options.predictions), Path(options.out)
    items = limited(benchmark.items(), options.limit)
    found = entries(items)
    answers = predictions(path, found)
    said = {item.id: answers[entry.index] for entry in found for item in entry.items}
    rows = [{**item.row, "id": item.id, "picture": item.picture, "answer": said[item.id], "logp": None, "tokens": None}
            for item in items if item.id in said]
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**row, **benchmark.judge(row, options.parser)} for row in benchmark.consult(rows, folder, options.parser)]
    read = name if options.parser == "official" else f"{name}-{options.parser}"
    write_files(folder, name, benchmark.export(rows))
    write_files(folder, read, {"rows": rows})
    source = {"name": path.stem, "predictions": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
    ours = {name: value for name, value in benchmark.settings().items() if name not in ("max_new_tokens", "max_answer_tokens")}  # theirs decided
    settings = {**ours, "limit": options.limit, "decoding": {"by": "VLMEvalKit, whose files do not say how"}, **benchmark.reading(options.parser)}
    result = Result.of(name, benchmark.aggregate(rows), options.parser, settings, None, {"model": source}, {"answers": len(rows), "measured": 0})
    result.save(folder / f"{read}.json")
    return result


def _only(benchmarks: dict[str, Benchmark]) -> tuple[str, Benchmark]:
    if len(benchmarks) > 1:
        raise ValueError(f"a file of VLMEvalKit is one benchmark; got {', '.join(benchmarks)}")
    return next(iter(benchmarks.items()))


if __name__ == "__main__":
    raise SystemExit(main())
