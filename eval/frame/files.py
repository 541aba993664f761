"""Reading what users bring: records of JSON arrays, JSON-lines and Parquet files, and pictures of a folder or in base64."""
import base64
import binascii
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mm.media.images import load_image
from mm.sample import Media


def records(path: Path) -> list[dict[str, Any]]:
    """Objects of a JSON array or of a JSON-lines file, whatever the file is called. Raises ValueError with the line of a malformed record."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {error.lineno}: malformed JSON array ({error.msg})") from error
    else:
        lines = text.split("\n")  # not splitlines, which also parts at U+2028 and the like, and these stand in JSON text as they are
        found = [_record(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise ValueError(f"{path} holds no records")
    for number, record in enumerate(found, 1):
        if not isinstance(record, dict):
            raise ValueError(f"{path}, record {number}: expected an object, found {type(record).__name__}")
    return found


def _record(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: malformed JSON ({error.msg})") from error


def parquet(path: Path) -> list[dict[str, Any]]:
    """Rows of a Parquet file. Raises ValueError where the library for it is not installed."""
    try:
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise ValueError(f"{path} is a Parquet file, and pyarrow is not installed; install the extra `parquet`, or give the rows as JSON") from error
    try:
        rows: list[dict[str, Any]] = read_table(path).to_pylist()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from error
    return rows


def picture_in(folder: str | None, name: str) -> Callable[[], tuple[Media, ...]]:
    """Reader of one picture of `folder`, called when its questions are answered. Raises ValueError when no folder was given."""

    def read() -> tuple[Media, ...]:
        if folder is None:
            raise ValueError(f"picture {name!r} is needed and no image folder was given; pass --images with the folder that holds it")
        return (Media(load_image(Path(folder) / name)[None]),)

    return read


def picture_of(folder: str | None, value: str, name: str) -> Callable[[], tuple[Media, ...]]:
    """Likewise of a picture that is given as a file's name, or as its content in base64. name: what errors call it. A name has a full stop, which
    base64 has not."""
    if "." in value:
        return picture_in(folder, value)

    def read() -> tuple[Media, ...]:
        try:
            content = base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"{name}: neither the name of a file nor a picture in base64 ({error}): {value[:60]!r}") from error
        return (Media(load_image(content, name=name)[None]),)

    return read
