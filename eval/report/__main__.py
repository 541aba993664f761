"""python -m eval.report runs/demo [--out page.html]: writes runs/demo/report.html."""
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.frame.result import write
from eval.laboratory.files import LABORATORY
from eval.report.page import page
from eval.report.run import read_run


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m eval.report", description="One self-contained HTML page of a run.")
    parser.add_argument("run", help="run directory, like runs/demo")
    parser.add_argument("--out", help="where the page goes; <run>/report.html by default")
    parser.add_argument("--places", type=int, default=8, help="N x N places to hide in turn for the maps of what decided, 0 for none (default: 8)")
    parser.add_argument("--laboratory", help="findings of python -m eval.laboratory to show too; <run>/laboratory.json where it exists, by default")
    given = parser.parse_args(arguments)
    try:
        run = read_run(Path(given.run))
        out = Path(given.out) if given.out else run.folder / "report.html"
        beside = run.folder / LABORATORY
        laboratory = Path(given.laboratory) if given.laboratory else beside if beside.is_file() else None
        write(out, page(run, given.places, laboratory))
    except (ValueError, OSError) as error:
        print(f"eval.report: {error}", file=sys.stderr)
        return 2
    print(f"the report is {out} ({out.stat().st_size / 2**20:.1f} MiB, one file)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
