"""python -m eval compare A B ... [--names a b] [--out runs/compare] [--items 240] [--overlays 8]: runs against the first of them.

Each of A, B ... is a result file, a folder of results, a run directory, or one with a lever: runs/demo:var. Writes compare.json and compare.html.
"""
import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from eval.compare.choosing import Shown, chosen
from eval.compare.comparing import compared
from eval.compare.draws import DRAWS
from eval.compare.found import found
from eval.compare.looking import Maps, maps
from eval.compare.page import page
from eval.compare.rebuilt import items_of, rebuilt
from eval.compare.runs import Run, read_runs
from eval.compare.table import table
from eval.frame.benchmark import Item, Row
from eval.frame.result import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr."""
    given = _parser().parse_args(arguments)
    started = time.monotonic()
    try:
        runs, remarks = read_runs(given.runs, given.names or ())
        result = found(runs, compared(runs, given.draws, given.seed), remarks, given.draws, given.seed, time.monotonic() - started)
        out = Path(given.out)
        out.mkdir(parents=True, exist_ok=True)
        write(out / "compare.json", json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        print(table(result), flush=True)
        write(out / "compare.html", _page(result, runs, given))
    except (ValueError, OSError) as error:
        print(f"eval compare: {error}", file=sys.stderr)
        return 2
    print(f"\n{out / 'compare.html'} ({(out / 'compare.html').stat().st_size / 2**20:.1f} MiB, one file), {out / 'compare.json'}")
    return 0


def _page(result: Row, runs: Sequence[Run], given: argparse.Namespace) -> str:
    choice = chosen(runs, given.items, given.seed)
    items: dict[str, dict[str, Item]] = {}
    remarks = []
    for name, answered in runs[0].results.items():
        try:
            items[name] = items_of(answered.result, rebuilt(answered.result))
        except (ValueError, OSError) as error:
            remarks.append(f"no pictures of {name}: {error}")
    looked: Maps = {}
    if given.overlays:
        telling = sorted((each for part in choice if part.benchmark in items for each in part.items), key=lambda each: each.rank)
        looked, more = maps(runs, _in_turn(telling)[:given.overlays], items, given.models or (), given.device)
        remarks += more
    return page(result, choice, items, looked, remarks)


def _in_turn(shown: Sequence[Shown]) -> list[Shown]:
    """One of each benchmark, then the next of each, in their order."""
    turn: Counter[str] = Counter()
    turns = []
    for each in shown:
        turns.append((turn[each.benchmark], each))
        turn[each.benchmark] += 1
    return [each for _, each in sorted(turns, key=lambda pair: pair[0])]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval compare", description="Runs on identical items against the first of them.")
    parser.add_argument("runs", nargs="+", help="result files, folders of results or run directories; folder:lever for those under a lever")
    parser.add_argument("--names", nargs="+", help="what to call the runs, in order")
    parser.add_argument("--out", default="runs/compare", help="folder of compare.json and compare.html (default: runs/compare)")
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"draws of the bootstrap and of the test (default: {DRAWS})")
    parser.add_argument("--seed", type=int, default=0, help="of the draws, and of the sample of answers that are shown (default: 0)")
    parser.add_argument("--items", type=int, default=240, help="answers on the page, an equal part of each benchmark (default: 240)")
    parser.add_argument("--overlays", type=int, default=0, help="answers with maps of where each run looked, of models assembled here (default: 0)")
    parser.add_argument("--models", nargs="+", help="directories of the runs' models, in order, or one of all, where results do not lie there")
    parser.add_argument("--device", default="cpu", help="of the models that draw maps (default: cpu)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
