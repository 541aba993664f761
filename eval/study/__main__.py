"""python -m eval.study runs/demo [runs/larger ...] --out runs/study: every mitigation of configs/eval/study on each model, against the plain model.

Answers POPE, CHAIR and AMBER on the procedural world; what is answered already is not asked again. Writes <out>/<model>.json, with every comparison,
and <out>/study.md.
"""
import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.amber import AMBER
from eval.chair import CHAIR
from eval.frame.result import write
from eval.pope import POPE
from eval.study.arms import FOLDER, arms
from eval.study.study import Plan, answer, compare
from eval.study.table import certain, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m eval.study", description="Every mitigation on the same questions.")
    parser.add_argument("models", nargs="+", type=Path, help="run directories of models trained on the world")
    parser.add_argument("--out", type=Path, default=Path("runs/study"), help="folder of all results (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the arms, lever files (default: %(default)s)")
    parser.add_argument("--arms", nargs="+", default=(), help="names of those to try (default: all)")
    parser.add_argument("--size", type=int, default=500, help="scenes (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=16, help="pictures a batch (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=10_000, help="of the bootstrap (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        benchmarks = {"pope": POPE(size=given.size), "chair": CHAIR(size=given.size), "amber": AMBER(size=given.size)}
        plan = Plan(given.models, benchmarks, arms(given.folder, given.arms), given.out, None, given.batch_size, given.draws)
        failed = answer(plan, lambda text: print(text, file=sys.stderr, flush=True))
        pages = []
        for home in plan.models:
            found = compare(plan, home)
            write(given.out / f"{home.resolve().name}.json", json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
            pages.append("\n\n".join([f"## {home.resolve().name}", table(found), *(f"* {said}" for said in certain(found)),
                                      *(f"* not done: {arm}: {why}" for model, arm, why in failed if model == home.name)]))
        write(given.out / "study.md", "\n\n".join(pages) + "\n")
    except (ValueError, RuntimeError, OSError) as error:
        print(f"eval.study: {error}", file=sys.stderr)
        return 2
    print((given.out / "study.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
