"""python -m eval pope chair pope:blind --model runs/demo [--lever configs/lever/x.yaml] [--limit N] [--pope.k 3 ...]
python -m eval compare A B ...: see eval/compare.

Names come first; each is a module of this package, whose options are `--<name>.<option>`, perhaps with a view behind a colon. Results go to
<model>/eval/<name>[-lever][-view].json. Beside it: `.rows.jsonl` every item with answer, truth and verdict; files in the benchmark's official format;
`.items.jsonl` the answers as they came, from which an interrupted run goes on.
"""
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

from eval.frame.benchmark import Benchmark
from eval.frame.find import benchmark_class
from eval.frame.result import Result, write_files
from eval.frame.runner import Answerer, limited, run
from eval.frame.views import VIEWS, View
from eval.parsers import Reader


@dataclass(frozen=True)
class Options:
    """What all benchmarks share.

    Args:
        model: run directory, or directory that VLM.save wrote.
        lever: YAML with any of `mask:`, `positions:`, `reweight:`, `keep:` and `layout:`, as in configs/lever.
        limit: answer the questions about the first N pictures (of each split) only.
        parser: how answers are read.
        view: what the model is shown of each picture.
        data: "world", or official files; sets the `data` option of every benchmark named. images: folder of their pictures, likewise.
        out: folder of the results, by default <model>/eval.
        batch_size: pictures a batch, and rows of a forward pass.
        device: cpu, cuda ...
        overwrite: discard answers that an earlier run left.
    """

    model: str
    lever: str | None = None
    limit: int | None = None
    parser: Reader = "official"
    view: View = "full"
    data: str | None = None
    images: str | None = None
    out: str | None = None
    batch_size: int = 16
    device: str = "cpu"
    overwrite: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named. Returns the exit status; errors of the user's making are one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["compare"]:
        from eval.compare.__main__ import main as compare

        return compare(given[1:])
    try:
        names = _names(given)
        options, benchmarks = parse([name for name, _ in names], given[len(names):])
        from eval.frame.model import Model

        model = Model(options.model, options.lever, options.device, options.batch_size)
        for name, view in names:
            print(evaluate(name, benchmarks[name], model, replace(options, view=view or options.view)).table(), flush=True)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"eval: {error}", file=sys.stderr)
        return 2
    return 0


def parse(names: Sequence[str], given: Sequence[str]) -> tuple[Options, dict[str, Benchmark]]:
    """Options, and the benchmarks named with their own options set."""
    parser = ArgumentParser(prog="python -m eval", description=__doc__, exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML with any of these options")
    parser.add_class_arguments(Options, instantiate=False)
    classes = {name: benchmark_class(name) for name in names}  # each once, whatever its views
    for name, benchmark in classes.items():
        parser.add_class_arguments(benchmark, name, instantiate=False)
    try:
        found = parser.instantiate(parser.parse_args(list(given)))
    except ArgumentError as error:
        known = [option for action in parser._actions for option in action.option_strings]
        wrong = [text.partition("=")[0] for text in given if text.startswith("--") and text.partition("=")[0] not in known]
        near = get_close_matches(wrong[0], known, n=1) if wrong else []
        raise ValueError(f"{error}" + (f"; did you mean {near[0]}?" if near else "")) from error
    options = Options(**{key: value for key, value in found.items() if key in Options.__dataclass_fields__})
    shared = {key: value for key, value in (("data", options.data), ("images", options.images)) if value is not None}
    return options, {name: benchmark(**_own(found[name], shared)) for name, benchmark in classes.items()}


def evaluate(name: str, benchmark: Benchmark, model: Answerer, options: Options) -> Result:
    """Answer, score and write one benchmark."""
    started = time.monotonic()
    if options.parser not in benchmark.parsers:
        raise ValueError(f"{name} has the parsers {', '.join(benchmark.parsers)}; got --parser {options.parser}")
    benchmark.check(options.parser)
    reading = benchmark.reading(options.parser)
    folder = Path(options.out) if options.out else _beside(options.model)
    stem = stem_of(name, options)
    answers = folder / f"{stem}.items.jsonl"
    if options.overwrite:
        answers.unlink(missing_ok=True)
    items = [VIEWS[options.view](item) for item in limited(benchmark.items(), options.limit)]
    if not items:
        raise ValueError(f"{name} has no items to answer")
    settings = {
        **benchmark.settings(), "view": options.view, "limit": options.limit, "batch_size": options.batch_size,
        "decoding": {"greedy": True, "num_beams": 1, "max_new_tokens": benchmark.max_new_tokens}}
    asked = {**settings, "model": model.identity, "lever": model.lever}
    rows = run(items, model, answers, asked, benchmark.max_new_tokens, options.batch_size, _progress(name))
    rows = [{**row, **benchmark.judge(row, options.parser)} for row in benchmark.consult(rows, folder, options.parser)]
    read = stem if options.parser == "official" else f"{stem}-{options.parser}"
    write_files(folder, stem, benchmark.export(rows))
    write_files(folder, read, {"rows": rows})
    config = {"model": model.identity, **model.config}
    result = Result.of(name, benchmark.aggregate(rows), options.parser, {**settings, **reading}, model.lever, config, time.monotonic() - started)
    result.save(folder / f"{read}.json")
    return result


def stem_of(name: str, options: Options) -> str:
    """What the files of a result are called, but for a parser that is not the official one."""
    lever = Path(options.lever).stem if options.lever else None
    return "-".join(filter(None, (name, lever, None if options.view == "full" else options.view, f"limit{options.limit}" if options.limit else None)))


def _names(given: Sequence[str]) -> list[tuple[str, View | None]]:
    """Benchmarks named first, each with the view behind its colon."""
    end = next((i for i, text in enumerate(given) if text.startswith("-")), len(given))
    if not end and not {"-h", "--help"} & set(given):
        raise ValueError("name the benchmarks first: python -m eval pope chair --model runs/demo")
    named: list[tuple[str, View | None]] = []
    for name, colon, view in (text.partition(":") for text in given[:end]):
        if colon and view not in VIEWS:
            raise ValueError(f"{name}:{view}: a view is {', '.join(VIEWS)}; got {view!r}")
        named.append((name, cast(View, view) if colon else None))
    return named


def _own(options: Namespace, shared: dict[str, Any]) -> dict[str, Any]:
    """A benchmark's options, with the shared ones in place of defaults; a benchmark without `data` or `images` takes none."""
    own = dict(options.items())
    return {**own, **{key: value for key, value in shared.items() if key in own and own[key] in (None, "world")}}


def _beside(model: str) -> Path:
    if not Path(model).is_dir():
        raise ValueError(f"model {model!r} is no directory here, so --out is needed to say where results go")
    return Path(model) / "eval"


def _progress(name: str) -> Any:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{name}: {done} / {total} answers", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    raise SystemExit(main())
