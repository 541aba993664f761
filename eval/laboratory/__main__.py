"""python -m eval.laboratory runs/laboratory [--steps 400 --seeds 0 1 2 ...]: writes laboratory.json and laboratory.html there.

About half an hour of one core with the defaults. What is done in the directory is not done again, so a run that was stopped goes on.
"""
import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.frame.result import write
from eval.laboratory.laboratory import Laboratory
from eval.laboratory.page import page
from eval.laboratory.questions import Questions
from eval.laboratory.reading import sentences
from eval.laboratory.training import Budget, Fit, program


def main(arguments: Sequence[str] | None = None, fit: Fit = program) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr. fit: runs `train.py`."""
    parser = argparse.ArgumentParser(prog="python -m eval.laboratory", description="Train with each mask, read under each rule, compare.")
    parser.add_argument("out", type=Path, help="directory of all runs and results, like runs/laboratory")
    parser.add_argument("--config", default=Budget.config, help="base configuration (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=Budget.steps, help="of training, each run (default: %(default)s)")
    parser.add_argument("--tune_steps", type=int, default=Budget.tune_steps, help="of the runs that go on from another (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=Budget.batch_size, help="pictures a step (default: %(default)s)")
    parser.add_argument("--precision", default=Budget.precision, help="of the trainer (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="each trains every mask once (default: 0 1 2)")
    parser.add_argument("--limit", type=int, default=Questions.limit, help="pictures of each split that are asked about (default: %(default)s)")
    parser.add_argument("--size", type=int, default=Questions.size, help="test scenes of a split (default: %(default)s)")
    given = parser.parse_args(arguments)
    budget = Budget(given.config, given.steps, given.tune_steps, given.batch_size, given.precision)
    try:
        out = given.out.resolve()  # train.py runs in the root of the repository
        found = Laboratory(out, budget, Questions(given.limit, given.size), tuple(dict.fromkeys(given.seeds)), fit, _say).run()
        write(out / "laboratory.html", page(found))
    except (ValueError, RuntimeError, OSError) as error:
        print(f"eval.laboratory: {error}", file=sys.stderr)
        return 2
    for key in ("trained", "training_free"):
        for label, sentence in sentences(found, key):
            print(f"{label}: {sentence}")
    print(f"the page is {given.out / 'laboratory.html'}, the numbers are in {given.out / 'laboratory.json'}")
    return 0


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
