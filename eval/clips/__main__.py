"""python -m eval.clips runs/clips [--steps 800 --seeds 0 1 2 ...]: trains and asks every arm, writes clips.json, clips.md and clips.png there.

An hour of one core with the defaults. What is done in the directory is not done again, so a run that was stopped goes on.
"""
import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.clips.arms import ARMS, with_controls
from eval.clips.experiment import Budget, Experiment
from eval.clips.picture import queries_reading
from eval.clips.table import tables
from eval.frame.result import write
from eval.laboratory.training import Fit, program
from mm.analysis.levers.style import save


def main(arguments: Sequence[str] | None = None, fit: Fit = program) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr. fit: runs `train.py`."""
    parser = argparse.ArgumentParser(prog="python -m eval.clips", description="Which ways from frames to language keep the order of time?")
    parser.add_argument("out", type=Path, help="directory of all runs and results, like runs/clips")
    parser.add_argument("--steps", type=int, default=Budget.steps, help="on clips of --frames (default: %(default)s)")
    parser.add_argument("--short_steps", type=int, default=Budget.short_steps, help="before, on clips of two frames (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=Budget.frames, help="of the clips of training (default: %(default)s)")
    parser.add_argument("--later", type=int, default=Budget.later, help="of longer clips that are asked about as well (default: %(default)s)")
    parser.add_argument("--size", type=int, default=Budget.size, help="test clips of each length (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="each trains every arm once (default: 0 1 2)")
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], help="some of them only, with their controls")
    given = parser.parse_args(arguments)
    budget = Budget(given.steps, given.short_steps, given.frames, given.later, given.size)
    arms = ARMS if given.arms is None else with_controls(given.arms)
    try:
        found = Experiment(given.out.resolve(), budget, arms, tuple(dict.fromkeys(given.seeds)), fit, _say).run()
    except (ValueError, RuntimeError, OSError) as error:
        print(f"eval.clips: {error}", file=sys.stderr)
        return 2
    write(given.out / "clips.md", tables(found))
    if (drawn := queries_reading(given.out, arms, given.seeds[0], budget.frames)) is not None:
        save(drawn, given.out / "clips.png")
    print(tables(found))
    return 0


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
