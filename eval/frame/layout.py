"""Where the tasks of a benchmark lie in the user's copy: data, because copies differ in their folder names."""
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

from eval.frame.benchmark import Row
from eval.frame.clips import Clip, with_fields
from eval.frame.files import records

HOME = Path(__file__).parents[1] / "layouts"


@dataclass(frozen=True)
class Place:
    """questions: JSON file of a task. clips: folder of its clips. Both relative to the copy. bounded: its rows have a start and an end, and only what
    lies between is shown. fps: rate of its clips that are folders of pictures."""

    questions: str
    clips: str
    bounded: bool = False
    fps: float | None = None


@dataclass(frozen=True)
class Entry:
    """One row of a task's question file. where: file and row, for errors."""

    task: str
    number: int
    row: Row
    clip: Clip
    where: str


def read_layout(name: str) -> dict[str, Place]:
    """Task -> place, from a JSON file, or from the one of eval/layouts with this name. Raises ValueError."""
    shipped = HOME / f"{name}.json"
    path = shipped if shipped.is_file() else Path(name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(task): Place(**place) for task, place in content.items()}
    except OSError as error:
        known = ", ".join(sorted(path.stem for path in HOME.glob("*.json")))
        raise ValueError(f"no layout {name!r}: give a JSON file, or one of {known}") from error
    except (ValueError, TypeError, AttributeError) as error:
        expected = ", ".join(field.name for field in fields(Place))
        raise ValueError(f"{path} is no layout ({error}); expected {{task: {{{expected}}}}}") from error


def chosen(layout: dict[str, Place], tasks: Sequence[str]) -> dict[str, Place]:
    """The tasks named, or all for none. Raises ValueError for one that there is not."""
    for task in tasks:
        if task not in layout:
            near = get_close_matches(task, layout, n=1)
            raise ValueError(f"no task {task!r}" + (f"; did you mean {near[0]!r}?" if near else "") + f" There are: {', '.join(layout)}")
    return {task: place for task, place in layout.items() if not tasks or task in tasks}


def entries(folder: Path, layout: dict[str, Place], *needed: str) -> list[Entry]:
    """Rows of all tasks in order. needed: fields of a row. Raises ValueError with file and row of what is missing."""
    found = []
    for task, place in layout.items():
        file = folder / place.questions
        for number, record in enumerate(records(file), 1):
            where = f"{file}, row {number}"
            row = with_fields(record, where, "video", *needed, *(("start", "end") if place.bounded else ()))
            start, end = (seconds(row[name], f"{where}, {name}") for name in ("start", "end")) if place.bounded else (None, None)
            clip = Clip(f"{place.clips}/{row['video']}", folder / place.clips / str(row["video"]), start, end, place.fps)
            found.append(Entry(task, number, row, clip, where))
    return found


def seconds(value: object, where: str) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected seconds, found {value!r}") from error
