"""The file with the findings of a laboratory."""
import json
from pathlib import Path

from eval.frame.benchmark import Row

LABORATORY = "laboratory.json"


def read(path: Path) -> Row:
    """The findings in a laboratory.json. ValueError where the file is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not the file of a laboratory: {error}") from error
    missing = {"trained", "training_free", "arms", "settings"} - set(found if isinstance(found, dict) else ())
    if missing:
        raise ValueError(f"{path} is not the file of a laboratory: it has no {', '.join(sorted(missing))}")
    return dict(found)
