"""Benchmarks that are tasks of multiple-choice questions about clips, one question file and one folder of clips a task."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from eval.frame.benchmark import Row
from eval.frame.choices import letter_of, letters, listed
from eval.frame.clips import ClipBenchmark, Question, Unusable
from eval.frame.layout import chosen, entries, read_layout
from mm.media.images import Limits
from mm.media.sampling import Sampling


class Prompt(NamedTuple):
    """form: the question, with {question} and {options}. prefix: what the answer is made to begin with. returned: what of it a reader gets."""

    form: str
    prefix: str = ""
    returned: str = ""

    def ask(self, row: Row) -> str:
        """The question about one row {question, candidates}."""
        return self.form.format(question=row["question"], options=listed(row["candidates"]))


class ChoiceTasks(ClipBenchmark):
    """data: folder of the user's copy. layout: where its tasks lie. tasks: those to ask, all for none. prompt: one of `prompts`; the rest as of a
    ClipBenchmark."""

    prompts: ClassVar[Mapping[str, Prompt]]

    def __init__(self, data: str, layout: str, tasks: Sequence[str], prompt: str, sampling: Sampling, limits: Limits | None, unusable: Unusable,
                 max_new_tokens: int) -> None:
        super().__init__(sampling, limits, unusable, max_new_tokens)
        self.data = data
        self.layout = layout
        self.tasks = tuple(tasks)
        self.prompt = prompt

    def questions(self) -> list[Question]:
        prompt, found = self.prompts[self.prompt], []
        for entry in entries(Path(self.data), chosen(read_layout(self.layout), self.tasks), "question", "candidates", "answer"):
            row = {"task": entry.task, "question": entry.row["question"], "candidates": entry.row["candidates"],
                   "label": letter_of(entry.row["answer"], entry.row["candidates"], entry.where)}
            found.append(Question(f"{entry.task}/{entry.number}", entry.clip, prompt.ask(row), row, entry.task, prompt.prefix))
        return found


def truth(row: Row) -> str:
    """The right option of a row {label, candidates} as official scripts write it: "(B) run"."""
    return f"({row['label']}) {row['candidates'][letters(row['candidates']).index(row['label'])]}"
