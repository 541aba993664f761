"""What was answered so far, on disk: nothing that was written is lost or computed again, whatever kills the run and however many processes go on.

`x.jsonl` is the answers file: the settings that decide the answers, then one line per distinct (picture, question), batch after batch. It is written
in one step when all is answered, and `x.timings.jsonl` with what each batch cost. Until then every process appends each batch that it has answered,
in one line, to its own `x.part<rank>.jsonl`.
"""
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from glob import escape
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from eval.frame.batches import key_of
from eval.frame.benchmark import Item, Row
from eval.frame.cost import Spent
from eval.frame.result import write


class Mismatch(ValueError):
    """An answers file that was made with other settings."""


class Done(NamedTuple):
    """A batch: the lines of its answers, and what they cost, None where that was not kept."""

    answers: list[Row]
    spent: Spent | None


class Journal:
    """path: the answers file. settings: what decides the answers. batches: all of them. A process appends to one part; all are read."""

    def __init__(self, path: Path, settings: Row, batches: Sequence[Sequence[Item]]) -> None:
        self.path, self.settings, self.batches = path, settings, batches
        self.header = line({"settings": settings})
        self.timings = path.with_name(f"{path.stem}.timings.jsonl")

    @property
    def parts(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{escape(self.path.stem)}.part*.jsonl"))

    def discard(self) -> None:
        for path in (self.path, self.timings):
            path.unlink(missing_ok=True)
        self.clear()

    def read(self) -> dict[int, Done]:
        """Every batch that was written as a whole. Raises Mismatch for answers made with other settings or to other items."""
        found = self._whole()
        for part in self.parts:
            for row in self._lines(part):
                try:
                    index, done = row["batch"], Done(row["answers"], Spent(**row["spent"]))
                except (KeyError, TypeError) as error:
                    raise Mismatch(f"{part} has a line that is no batch of answers ({error}); remove the file, or give --overwrite true.") from error
                self._check(part, index, done.answers)
                found[index] = done
        return found

    def append_as(self, rank: int) -> BinaryIO:
        """The part of that process, open to append, cut behind the last line that is read: what is written behind a damaged one would be lost."""
        path = self.path.with_name(f"{self.path.stem}.part{rank}.jsonl")
        read = list(takewhile(parsed, whole_lines(path)))
        whole = b"".join(read) or self.header
        if not path.exists() or whole != path.read_bytes():
            write(path, whole)
        return path.open("ab")

    def finish(self, found: Mapping[int, Done]) -> None:
        """Write the answers file and the timings beside it."""
        order = sorted(found)
        spent = [line({"batch": index, **asdict(cost)}) for index in order if (cost := found[index].spent) is not None]
        write(self.timings, b"".join(spent))
        write(self.path, b"".join([self.header, *(line(row) for index in order for row in found[index].answers)]))

    def clear(self) -> None:
        """Remove the parts, once their batches are in the answers file, and what a kill left of beginning one."""
        for part in self.path.parent.glob(f"{escape(self.path.stem)}.part*.jsonl*"):
            part.unlink(missing_ok=True)

    def _whole(self) -> dict[int, Done]:
        """What the answers file holds: batch after batch from the first on."""
        lines, found, place = self._lines(self.path), dict[int, Done](), 0
        spent = {row.pop("batch"): Spent(**row) for row in map(parsed, whole_lines(self.timings)) if row is not None}
        for index, batch in enumerate(self.batches):
            answers = lines[place:place + len(batch)]
            if len(answers) < len(batch):
                break
            self._check(self.path, index, answers)
            found[index], place = Done(answers, spent.get(index)), place + len(batch)
        return found

    def _lines(self, path: Path) -> list[Row]:
        """Rows behind the header, up to one that was cut short."""
        lines = whole_lines(path)
        if lines and lines[0] != self.header:
            raise Mismatch(f"{path} holds answers made with other settings: {difference(lines[0], self.settings)}. Give another --out, or "
                           "--overwrite true.")
        rows = [parsed(each) for each in lines[1:]]
        return [row for row in rows[:rows.index(None) if None in rows else None] if row is not None]

    def _check(self, path: Path, index: int, answers: Sequence[Row]) -> None:
        batch = self.batches[index] if index < len(self.batches) else ()
        found = [(row.get("picture"), row.get("question")) for row in answers]
        if not batch or found != [key_of(item) for item in batch]:
            missing = next((item.id for item in batch if key_of(item) not in found), batch[0].id if batch else f"of batch {index}")
            raise Mismatch(f"{path}: no answer to item {missing} where it should be. Give another --out, or --overwrite true.")


def append(file: BinaryIO, index: int, done: Done) -> None:
    """One line, on the disk when this returns."""
    assert done.spent is not None
    file.write(line({"batch": index, "answers": done.answers, "spent": asdict(done.spent)}))
    file.flush()
    os.fsync(file.fileno())


def line(record: Row) -> bytes:
    return json.dumps(record, ensure_ascii=False, sort_keys=True).encode(errors="backslashreplace") + b"\n"


def whole_lines(path: Path) -> list[bytes]:
    """Those that end; none where there is no file."""
    return [each for each in (path.read_bytes().splitlines(keepends=True) if path.exists() else ()) if each.endswith(b"\n")]


def parsed(each: bytes) -> Row | None:
    try:
        found = json.loads(each)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def difference(header: bytes, settings: Row) -> str:
    old: Any = (parsed(header) or {}).get("settings")
    if not isinstance(old, dict):
        return "its first line states none"
    new = json.loads(json.dumps(settings))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in names)
