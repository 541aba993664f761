"""Which weights and items an evaluation of edits stood on, so that edits of others are not taken for its own."""
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from eval.frame.benchmark import Row
from eval.frame.weights import fingerprint, surroundings


def identity(folder: str) -> Row:
    """{"name", "parts": {part: fingerprint of its weights and configuration}} of a folder of models, as diffusers writes pipelines. ValueError for
    anything else."""
    home = Path(folder)
    homes = sorted({path.parent for path in home.rglob("*.safetensors")}) if home.is_dir() else []
    if not homes:
        raise ValueError(f"{folder!r} is no folder with weights in safetensors, and nothing is downloaded; copy the model there")
    return {"name": home.resolve().name,
            "parts": {part.relative_to(home).as_posix(): f"{fingerprint(part)}-{surroundings(part)}" for part in homes}}


def file_identity(file: str) -> Row:
    """{"name", "sha256"} of one file."""
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"weights {file!r}: there is no such file, and nothing is downloaded; copy it there")
    with path.open("rb") as content:
        return {"name": path.name, "sha256": hashlib.file_digest(content, "sha256").hexdigest()[:16]}


def digest(rows: Sequence[Row]) -> str:
    """How many items, and a fingerprint of what they say: "700 items, 5f0c2e..."."""
    return f"{len(rows)} items, {hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]}"
