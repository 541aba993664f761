"""The mitigations that are tried, as `--lever` files."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("configs/eval/study")


@dataclass(frozen=True)
class Arm:
    """name: of the file, and of its results. label: the first words of the file's comment, for readers. file: from the root of the repository."""

    name: str
    label: str
    file: Path


def arms(folder: Path = FOLDER, chosen: Sequence[str] = ()) -> list[Arm]:
    """Those of a folder by name, or the chosen ones. ValueError for one that there is not, or a file without a comment that begins it."""
    files = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    missing = [name for name in chosen if name not in files]
    if missing or not files:
        raise ValueError(f"{folder} holds no arm {', '.join(missing)}; there are {', '.join(files) or 'none'}")
    return [Arm(name, label_of(path), path) for name, path in files.items() if not chosen or name in chosen]


def label_of(path: Path) -> str:
    """"# VAR, τ = 5: sinks ..." → "VAR, τ = 5"."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    if not first.startswith("# ") or ":" not in first:
        raise ValueError(f"{path} should begin with a comment like '# VAR: what it does'; its first line is {first[:60]!r}")
    return first[2:].partition(":")[0]
