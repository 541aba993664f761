"""python -m eval pope chair pope:blind --model runs/demo [--lever configs/lever/x.yaml] [--limit N] [--pope.k 3 ...]
torchrun --nproc-per-node 2 -m eval pope chair --model runs/demo
python -m eval compare A B ...: see eval/compare.

Names come first; each is a module of this package, whose options are `--<name>.<option>`, perhaps with a view behind a colon. Results go to
<model>/eval/<name>[-lever][-lora][-view].json. Beside it: `.rows.jsonl` every item with answer, truth and verdict; files in the benchmark's official
format; `.items.jsonl` the answers as they came, `.items.timings.jsonl` what they cost. An interrupted run goes on where it was (docs/evaluation.md).
"""
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, cast

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

from eval.frame.benchmark import Benchmark
from eval.frame.evaluating import evaluate, evaluate_together
from eval.frame.find import benchmark_class
from eval.frame.options import Options, stem_of
from eval.frame.processes import Processes, processes
from eval.frame.views import VIEWS, View

__all__ = ["Options", "evaluate", "main", "parse", "stem_of"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named. Returns the exit status; errors of the user's making are one line on stderr, whichever process has them."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["compare"]:
        from eval.compare.__main__ import main as compare

        return compare(given[1:])
    crew = processes()
    try:
        names = _names(given)
        options, benchmarks = parse([name for name, _ in names], given[len(names):])
        _run(names, options, benchmarks, crew)
        crew.close()
    except (ValueError, RuntimeError, OSError) as error:
        if crew.may_tell():
            print(f"eval: {error}" if crew.size == 1 else f"eval: process {crew.rank} of {crew.size}: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def _run(names: Sequence[tuple[str, View | None]], options: Options, benchmarks: dict[str, Benchmark], crew: Processes) -> None:
    from eval.frame.model import Model

    device = crew.device(options.device)
    model = Model(options.model, options.lever, device, options.batch_size, options.dtype, options.lora, options.trust_remote_code)
    for name, view in names:
        result = evaluate_together(name, benchmarks[name], model, replace(options, view=view or options.view), crew)
        if result is not None:
            print(result.table().encode(errors="backslashreplace").decode(), flush=True)


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


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    raise SystemExit(main())
