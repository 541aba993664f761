"""PIE-Bench run on an editor: edits, figures, means of all and of each type, files."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.edits.editor import Edited, Editor
from eval.edits.identity import digest
from eval.edits.journal import Journal
from eval.edits.measuring import METRICS, Measures
from eval.edits.pie import SIDE, TYPES, Example
from eval.edits.running import Runner, Task
from eval.edits.scores import EditResult, Scores, mean, unbounded
from eval.edits.table import pie_table
from eval.frame.benchmark import Row
from eval.frame.intervals import Score
from eval.frame.result import write, write_files
from eval.frame.usable import NAMED, OnError


@dataclass(frozen=True)
class PIEBench:
    """examples: those to edit. measures: with the encoders there are. settings: what decides the edits. config: of model and encoders. out: folder of
    everything. side: pixels that the model draws, to which pictures and masks are brought. seed: of the noise, the same for every edit."""

    examples: Sequence[Example]
    measures: Measures
    settings: Row
    config: Row
    out: Path
    side: int = SIDE
    seed: int = 0
    batch_size: int = 1
    on_error: OnError = "stop"
    overwrite: bool = False
    say: Callable[[str], None] = lambda what: None

    def run(self, name: str, recipe: Row, editor: Editor, clock: Callable[[], float]) -> EditResult:
        """name: of the recipe, and of the files: out/<name>.json, .rows.jsonl, .md, and the pictures in out/<name>/<item>."""
        self.check()
        known = {example.id: example for example in self.examples}
        tasks = [Task(each.id, lambda each=each: each.request(self.side, self.seed), each.row()) for each in self.examples]  # type: ignore[misc]
        settings = {**self.settings, "side": self.side, "seed": self.seed, "batch_size": self.batch_size}
        items = digest([{"id": each.id, **each.row(), "runs": each.runs} for each in self.examples])
        decides = {**settings, "items": items, "recipe": recipe, "config": self.config}
        journal = Journal(self.out / name / "edits.jsonl", decides, self.overwrite)

        def look(task: Task, made: Edited) -> Row:
            example = known[task.id]
            return self.measures(example.image(self.side), made.source, made.edited, example.mask(self.side), example.prompt, example.to)

        began = clock()
        rows = Runner(editor, look, self.out / name, self.batch_size, self.on_error, self.say).run(tasks, journal)
        good = [row for row in rows if "failed" not in row]
        if not good:
            raise ValueError(f"none of {len(rows)} edits could be made; the first, {rows[0]['id']}: {rows[0]['failed']}")
        result = EditResult.of("pie", scores(good), rows, self.remarks(rows, good), settings, recipe, self.config, clock() - began)
        write_files(self.out, name, {"rows": rows})
        write(self.out / f"{name}.md", pie_table(result, TYPES))
        result.save(self.out / f"{name}.json")
        return result

    def check(self) -> None:
        """Every picture is read once before the first edit. ValueError with the first that cannot be, unless failures are skipped."""
        if self.on_error == "skip":
            return
        faults = []
        for example in self.examples:
            try:
                example.image(self.side)
            except ValueError as error:
                faults.append(f"item {example.id}: {error}")
        if faults:
            raise ValueError(f"{faults[0]} {len(faults)} of {len(self.examples)} pictures cannot be used. Complete the copy, or give --on_error "
                             "skip, and they are left out, counted and named.")

    def remarks(self, rows: Sequence[Row], good: Sequence[Row]) -> list[str]:
        failed = [f"{row['id']}: {row['failed']}" for row in rows if "failed" in row]
        named = "; ".join(failed[:NAMED]) + " ..." * (len(failed) > NAMED)
        said = f"{len(failed)} of {len(rows)} edits failed and are left out ({named})"
        return [*([said] if failed else []), *unbounded(good, METRICS), *self.measures.missing()]


def scores(rows: Sequence[Row]) -> Scores:
    """Means over all rows, then "<type>/<metric>" of each type; "n" counts them."""
    found: Scores = {}
    for group in ("", *(name for name in TYPES if any(row["type"] == name for row in rows))):
        inside = [row for row in rows if not group or row["type"] == group]
        prefix = f"{group}/" if group else ""
        found[f"{prefix}n"] = Score(len(inside), len(inside), len(inside), len(inside))
        found |= {prefix + metric: mean(inside, metric) for metric in METRICS if any(metric in row for row in inside)}
    return found
