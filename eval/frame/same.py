"""python -m eval.frame.same RUN_A/eval RUN_B/eval: do two folders of results hold the same bytes, apart from what was measured in time and memory?

Exit status 1, and a line for each file that differs or is in one of them only.
"""
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.frame.result import untimed

TIMINGS = ".timings.jsonl"  # how the name of a file of measurements ends


def differences(first: Path, second: Path) -> list[str]:
    """A sentence on each file that is not the same in both."""
    here, there = ({path.name for path in folder.iterdir() if path.is_file() and not path.name.endswith(TIMINGS)} for folder in (first, second))
    lone = [f"{name} is only in {folder}" for folder, names in ((first, here - there), (second, there - here)) for name in sorted(names)]
    return lone + [f"{name} differs" for name in sorted(here & there) if plain(first / name) != plain(second / name)]


def plain(path: Path) -> bytes:
    """The bytes of a file; of a result those of its content without `cost`."""
    content = path.read_bytes()
    if path.suffix != ".json":
        return content
    found = json.loads(content)
    return json.dumps(untimed(found), indent=1, ensure_ascii=False).encode() if isinstance(found, dict) else content


def main(arguments: Sequence[str] | None = None) -> int:
    first, second = map(Path, sys.argv[1:] if arguments is None else arguments)
    found = differences(first, second)
    print("\n".join(found) or "the same")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
