"""python -m eval.edits world --model runs/edit/pipeline --recipes configs/edit/a.yaml configs/edit/b.yaml [--size 64 ...]
python -m eval.edits pie --model DIR --recipe configs/edit/x.yaml --data PIE-Bench [--clip DIR --structure FILE --lpips FILE ...]

Writes results, rows, tables and every picture to <model>/eval/world and <model>/eval/pie, or to --out. What is done is not done again, so a run that
was stopped goes on. Nothing is downloaded.
"""
import json
import logging
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, get_type_hints

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

from data.world.edits import Edits
from eval.edits.editor import Editor
from eval.edits.identity import file_identity, identity
from eval.edits.local import editor_of
from eval.edits.options import PieOptions, WorldOptions, law_of
from eval.edits.recipes import read_recipe, read_recipes
from eval.frame.benchmark import Row
from eval.frame.result import write

SEVERAL = ("recipes", "kinds", "types")
DRAWN = 10_000  # items of the world that are searched for pairs


class Editors(Protocol):
    """The model of a folder, under a recipe."""

    def __call__(self, model: str, recipe: Row, device: str, dtype: str | None) -> Editor: ...


def main(arguments: Sequence[str] | None = None, editors: Editors = editor_of) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    doors = {"world": world, "pie": pie}
    try:
        if not given or given[0] not in doors:
            raise ValueError(f"name the benchmark first, {' or '.join(doors)}: python -m eval.edits world --model runs/edit/pipeline --recipes ...")
        print(doors[given[0]](given[1:], editors))
    except (ValueError, RuntimeError, OSError) as error:
        print(f"eval.edits: {error}", file=sys.stderr)
        return 2
    return 0


def world(given: Sequence[str], editors: Editors) -> str:
    """Runs the world's benchmark. Returns its tables."""
    from data.world.recognise import recognise
    from eval.edits.table import world_tables
    from eval.edits.world import Arm, WorldBenchmark, pairs

    parser = ArgumentParser(prog="python -m eval.edits world", description=__doc__, exit_on_error=False)
    parser.add_class_arguments(Edits, "data")
    law = law_of(_named("model", given))
    parser.set_defaults({"data.split": "test", "data.size": DRAWN, **{f"data.{name}": value for name, value in law.items()}})
    options, found = _parsed(parser, WorldOptions, given)
    recipes, data = read_recipes(options.recipes), found["data"]
    asked = {kind: pairs(kind, options.size, data) for kind in options.kinds}
    config = {"model": identity(options.model), "dtype": options.dtype}
    out = Path(options.out or Path(options.model) / "eval" / "world")
    arms = [Arm(recipe["name"], recipe, editors(options.model, recipe, options.device, options.dtype)) for recipe in recipes]
    settings = {"split": data.split, "seed": data.seed, "size": options.size, "world": asdict(data.world)}
    results = WorldBenchmark(asked, recognise, settings, config, out, options.batch_size, options.overwrite, _say).run(arms, perf_counter)
    tables = world_tables(results)
    write(out / "world.md", tables)
    return tables


def pie(given: Sequence[str], editors: Editors) -> str:
    """Runs PIE-Bench. Returns its table and remarks."""
    from eval.edits.pie import TYPES, examples
    from eval.edits.pie_bench import PIEBench
    from eval.edits.table import pie_table

    options, _ = _parsed(ArgumentParser(prog="python -m eval.edits pie", description=__doc__, exit_on_error=False), PieOptions, given)
    recipe, asked = read_recipe(options.recipe), examples(Path(options.data), tuple(options.types), options.limit)
    measures, encoders = _measures(options)
    config = {"model": identity(options.model), "dtype": options.dtype, **encoders}
    settings = {"data": "PIE-Bench", "types": list(options.types), "limit": options.limit}
    out = Path(options.out or Path(options.model) / "eval" / "pie")
    bench = PIEBench(
        asked, measures, settings, config, out, options.side, options.seed, options.batch_size, options.on_error, options.overwrite, _say)
    bench.check()
    result = bench.run(recipe["name"], recipe, editors(options.model, recipe, options.device, options.dtype), perf_counter)
    return "\n".join([pie_table(result, TYPES), *(f"note: {remark}" for remark in result.remarks)])


def _measures(options: PieOptions) -> tuple[Any, Row]:
    """The measures that there are weights for, and which weights these are."""
    from eval.edits.measuring import Measures
    from mm.diffusion.metrics import LPIPS, StructureDistance, clip_of

    clip = None if options.clip is None else clip_of(options.clip, options.device)
    structure = None if options.structure is None else StructureDistance(options.structure).to(options.device)
    lpips = None if options.lpips is None else LPIPS(options.lpips).to(options.device)
    return Measures(clip, structure, lpips), {
        "clip": options.clip and identity(options.clip), "structure": options.structure and file_identity(options.structure),
        "lpips": options.lpips and file_identity(options.lpips)}


def listed(given: Sequence[str], names: Collection[str]) -> list[str]:
    """The words behind an option of several values as the one list that the parser reads: `--kinds colour shape` as `--kinds ["colour", "shape"]`."""
    found: list[str] = []
    rest = list(given)
    while rest:
        word = rest.pop(0)
        found.append(word)
        if word.removeprefix("--") in names and not (rest and rest[0].startswith("[")):
            count = next((index for index, each in enumerate(rest) if each.startswith("--")), len(rest))
            found.append(json.dumps(rest[:count]))
            rest = rest[count:]
    return found


def _parsed(parser: ArgumentParser, kind: type, given: Sequence[str]) -> tuple[Any, Namespace]:
    """The options, and whatever else the parser knows."""
    parser.add_argument("--config", action=ActionConfigFile, help="YAML with any of these options")
    parser.add_class_arguments(kind, instantiate=False)
    try:
        found = parser.instantiate(parser.parse_args(listed(given, SEVERAL)))
    except ArgumentError as error:
        known = [option for action in parser._actions for option in action.option_strings]
        wrong = [text.partition("=")[0] for text in given if text.startswith("--") and text.partition("=")[0] not in known]
        near = get_close_matches(wrong[0], known, n=1) if wrong else []
        raise ValueError(f"{error}" + (f"; did you mean {near[0]}?" if near else "")) from error
    return kind(**{name: found[name] for name in get_type_hints(kind)}), found


def _named(option: str, given: Sequence[str]) -> str | None:
    """The value of an option on which the defaults of others depend, before anything is parsed."""
    texts = [text.removeprefix(f"--{option}=") for text in given if text.startswith(f"--{option}=")]
    texts += [text for flag, text in pairwise(given) if flag == f"--{option}"]
    return texts[-1] if texts else None


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    raise SystemExit(main())
