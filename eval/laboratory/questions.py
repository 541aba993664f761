"""Answering the questions: the benchmarks of the world on one model under one lever, unless it was done."""
from dataclasses import dataclass
from pathlib import Path

from eval.__main__ import evaluate, parse, stem_of
from eval.frame.model import Model
from eval.frame.result import Result
from eval.laboratory.measures import BENCHMARKS
from eval.report.run import Filed


@dataclass(frozen=True)
class Questions:
    """limit: pictures of each split that are asked about. size: scenes of a split, from which POPE takes what is popular and what stands together."""

    limit: int = 250
    size: int = 500


def ask(questions: Questions, run: Path, lever: Path | None = None) -> dict[str, Filed]:
    """Benchmark -> result on the model of a run directory, in its eval/."""
    given = ["--model", str(run), "--limit", str(questions.limit), *(["--lever", str(lever)] if lever else []),
             *(word for name in BENCHMARKS for word in (f"--{name}.size", str(questions.size)))]
    options, benchmarks = parse(BENCHMARKS, given)
    paths = {name: run / "eval" / f"{stem_of(name, options)}.json" for name in BENCHMARKS}
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        model = Model(options.model, options.lever, options.device, options.batch_size)
        for name in missing:
            evaluate(name, benchmarks[name], model, options)
    return {name: Filed(path, Result.load(path)) for name, path in paths.items()}
