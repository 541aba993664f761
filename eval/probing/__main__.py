"""python -m eval.probing runs/probing [--seeds 0 1 2]: compares the heads, prints the tables, writes them and probing.json there.

Some minutes of one core: no label is seen by the encoder, a ConvViT that fills in blanked patches, and no gradient reaches it from a head.
"""
import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from eval.frame.result import write
from eval.probing.comparing import MEASURES, differences, levels
from eval.probing.training import Budget, run
from mm.versions import revision, versions


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m eval.probing", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="directory of the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    for name, value in asdict(Budget()).items():
        parser.add_argument(f"--{name}", type=int, default=value, help="default: %(default)s")
    given = vars(parser.parse_args(arguments))
    out, seeds, budget = given.pop("out"), list(dict.fromkeys(given.pop("seeds"))), Budget(**given)
    torch.set_num_threads(1)
    found = []
    for seed in seeds:
        print(f"seed {seed}", file=sys.stderr, flush=True)
        found.append(run(seed, budget))
    result = {"seeds": seeds, "settings": asdict(budget), "levels": levels(found), "differences": differences(found),
              "versions": dict(versions()), "revision": revision()}
    out.mkdir(parents=True, exist_ok=True)
    write(out / "probing.json", json.dumps(result, indent=1) + "\n")
    write(out / "probing.md", tables(result))
    print(tables(result), end="")
    return 0


def tables(result: Mapping[str, Any]) -> str:
    """Both tables as Markdown, in percent and points."""
    lines = ["| head | parameters | CPU s | " + " | ".join(MEASURES) + " |", "|---|---|---|" + "---|" * len(MEASURES)]
    for name, row in result["levels"].items():
        cells = [f"{100 * row[m]['value']:.1f} ({100 * row[m]['low']:.1f} to {100 * row[m]['high']:.1f})" for m in MEASURES]
        seconds = sum(row["seconds"]) / len(row["seconds"])
        lines.append(f"| {name} | {row['parameters']:,} | {seconds:.1f} | " + " | ".join(cells) + " |")
    lines += ["", "| against | " + " | ".join(MEASURES) + " |", "|---|" + "---|" * len(MEASURES)]
    pairs = dict.fromkeys((row["head"], row["control"]) for row in result["differences"])
    for head, control in pairs:
        rows = [row for row in result["differences"] if (row["head"], row["control"]) == (head, control)]
        cells = [f"{100 * row['value']:+.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})" + " *" * row["significant"] for row in rows]
        lines.append(f"| {head} − {control} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
