"""Batches of edits: made, kept as pictures, judged, written down, and never done twice."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.edits.editor import Edited, Editor, Request
from eval.edits.journal import Journal
from eval.edits.pictures import save
from eval.frame.benchmark import Row
from eval.frame.usable import OnError


@dataclass(frozen=True)
class Task:
    """id: unique within the benchmark, a folder's name. request: reads what is edited, called when its turn comes; ValueError where it cannot be.
    row: plain JSON values that describe it, and join its row."""

    id: str
    request: Callable[[], Request]
    row: Row


Judge = Callable[[Task, Edited], Row]


@dataclass(frozen=True)
class Runner:
    """home: pictures go to home/<id>. on_error: "stop" at an edit that fails, or "skip" and count it. say: told of progress."""

    editor: Editor
    judge: Judge
    home: Path
    batch_size: int = 1
    on_error: OnError = "stop"
    say: Callable[[str], None] = lambda what: None

    def run(self, tasks: Sequence[Task], journal: Journal) -> list[Row]:
        """A row a task, in order: {"id", what describes it, "files", what the judge says}, or {"id", ..., "failed": why}."""
        if not tasks:
            raise ValueError("there is nothing to edit; check the limit and the selection")
        if self.batch_size < 1:
            raise ValueError(f"a batch holds one edit or more; got batch_size {self.batch_size}")
        batches = [tasks[start:start + self.batch_size] for start in range(0, len(tasks), self.batch_size)]
        rows = []
        for index, batch in enumerate(batches):
            found = journal.done.get(index)
            if found is None:
                found = journal.add(index, self._batch(batch))
                self.say(f"{sum(map(len, batches[:index + 1]))} / {len(tasks)} edits")
            rows += found
        return rows

    def _batch(self, batch: Sequence[Task]) -> list[Row]:
        """All at once; where that fails and failures are skipped, one by one, so that a failure is the task's own."""
        try:
            return self._together(batch)
        except ValueError as error:
            if len(batch) == 1:
                if self.on_error == "stop":
                    raise ValueError(f"item {batch[0].id}: {error}; give --on_error skip to leave such items out and count them") from error
                return [{"id": batch[0].id, **batch[0].row, "failed": str(error)}]
        return [row for task in batch for row in self._batch([task])]

    def _together(self, batch: Sequence[Task]) -> list[Row]:
        found = self.editor([task.request() for task in batch])
        if len(found) != len(batch):
            raise RuntimeError(f"the editor was given {len(batch)} requests and made {len(found)} edits")
        return [{"id": task.id, **task.row, "files": save(edited, self.home, task.id), **self.judge(task, edited)}
                for task, edited in zip(batch, found, strict=True)]
