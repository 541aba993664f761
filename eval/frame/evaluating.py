"""One benchmark on one model: find what can be asked, answer, judge, score, write."""
import sys
from collections.abc import Callable

from eval.frame.benchmark import Benchmark, Row
from eval.frame.options import Options, folder_of, stem_of
from eval.frame.processes import Alone, Processes
from eval.frame.result import Result, write_files
from eval.frame.runner import Answerer, answered, limited
from eval.frame.usable import usable
from eval.frame.views import VIEWS


def evaluate(name: str, benchmark: Benchmark, model: Answerer, options: Options) -> Result:
    """Answer, score and write one benchmark, by this process alone."""
    result = evaluate_together(name, benchmark, model, options, Alone())
    assert result is not None, "one process alone is process 0"
    return result


def evaluate_together(name: str, benchmark: Benchmark, model: Answerer, options: Options, processes: Processes) -> Result | None:
    """As `evaluate`, shared between processes: all answer, process 0 scores and writes; None on the others."""
    if options.parser not in benchmark.parsers:
        raise ValueError(f"{name} has the parsers {', '.join(benchmark.parsers)}; got --parser {options.parser}")
    benchmark.check(options.parser)
    reading = benchmark.reading(options.parser)
    folder, stem = folder_of(options), stem_of(name, options)
    items = [VIEWS[options.view](item) for item in limited(benchmark.items(), options.limit)]
    if not items:
        raise ValueError(f"{name} has no items to answer")
    asked = usable(items, options.on_error, processes)
    settings = {
        **benchmark.settings(), "view": options.view, "limit": options.limit, "batch_size": options.batch_size,
        "decoding": {"greedy": True, "num_beams": 1, "max_new_tokens": benchmark.max_new_tokens} | chosen(model), **asked.settings()}
    found = answered(
        asked.items, model, folder / f"{stem}.items.jsonl", {**settings, "model": model.identity, "lever": model.lever}, benchmark.max_new_tokens,
        options.batch_size, progress(name), processes, processes.device(options.device), options.overwrite)
    if found is None:
        return None
    rows = [{**row, **benchmark.judge(row, options.parser)} for row in benchmark.consult(found.rows, folder, options.parser)]
    read = stem if options.parser == "official" else f"{stem}-{options.parser}"
    write_files(folder, stem, benchmark.export(rows))
    write_files(folder, read, {"rows": rows})
    config = {"model": model.identity, **model.config}
    result = Result.of(name, asked.noted(benchmark.aggregate(rows)), options.parser, {**settings, **reading}, model.lever, config, found.cost)
    result.save(folder / f"{read}.json")
    return result


def chosen(model: Answerer) -> Row:
    """A way of decoding that says for itself how it searches."""
    method = (model.lever or {}).get("decoding")
    return {} if method is None else {"greedy": None, "num_beams": None, "method": method}


def progress(name: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{name}: {done} / {total} answers", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show
