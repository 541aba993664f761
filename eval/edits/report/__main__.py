"""python -m eval.edits.report runs/edit [--out page.html] [--sheet docs/edit.png]: writes runs/edit/report.html.

--sheet also draws source, edited, no control and word map of two edits of each kind into one picture.
"""
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.edits.report.page import page
from eval.edits.report.run import read_run
from eval.edits.report.sheet import sheet
from eval.frame.result import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m eval.edits.report", description="One self-contained HTML page of the edits of a run.")
    parser.add_argument("run", help="run directory, like runs/edit, with pipeline/eval/world in it")
    parser.add_argument("--out", help="where the page goes; <run>/report.html by default")
    parser.add_argument("--sheet", help="where a picture of four edits goes, e.g. docs/edit.png; none by default")
    given = parser.parse_args(arguments)
    try:
        run = read_run(Path(given.run))
        out = Path(given.out) if given.out else run.folder / "report.html"
        write(out, page(run))
        if given.sheet:
            sheet(run).save(given.sheet)
    except (ValueError, OSError) as error:
        print(f"eval.edits.report: {error}", file=sys.stderr)
        return 2
    print(f"the report is {out} ({out.stat().st_size / 2**20:.1f} MiB, one file)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
