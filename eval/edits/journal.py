"""What was edited and judged so far, on disk, so that a killed run goes on: `edits.jsonl` holds the settings, then one line a batch of rows."""
import json
import os
from pathlib import Path
from typing import Any

from eval.frame.benchmark import Row
from eval.frame.journal import Mismatch, difference, parsed, whole_lines
from eval.frame.result import write


class Journal:
    """path: the file. settings: what decides the edits; a journal of others is refused with Mismatch. overwrite: discard it instead.

    done: batches that were judged as a whole, by number. A batch with a failure is tried again by the next run.
    """

    def __init__(self, path: Path, settings: Row, overwrite: bool = False) -> None:
        self.path = path
        self.done: dict[int, list[Row]] = {}
        header, found = line({"settings": settings}), [] if overwrite else whole_lines(path)
        if found and found[0] != header:
            raise Mismatch(f"{path} holds edits made with other settings: {difference(found[0], settings)}. Give another --out, or --overwrite true.")
        for each in found[1:]:
            row = parsed(each)
            if row is None or not {"batch", "rows"} <= row.keys():
                raise Mismatch(f"{path} has a line that is no batch of edits; remove the file, or give --overwrite true.")
            self._keep(row)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line({"batch": index, "rows": rows}) for index, rows in self.done.items()]
        write(path, b"".join([header, *kept]))  # without the line that a kill cut short

    def add(self, batch: int, rows: list[Row]) -> list[Row]:
        """Written, on the disk when this returns. The rows as another run will read them."""
        content = line({"batch": batch, "rows": rows})
        with self.path.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        record = json.loads(content)
        self._keep(record)
        return list(record["rows"])

    def _keep(self, record: dict[str, Any]) -> None:
        if not any("failed" in row for row in record["rows"]):
            self.done[record["batch"]] = record["rows"]


def line(record: Row) -> bytes:
    """In the order of its keys, which is one for readers. ValueError for NaN, which JSON has not."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
