"""MVBench: Li et al., "MVBench: A Comprehensive Multi-modal Video Understanding Benchmark", CVPR 2024.

Twenty tasks of 200 multiple-choice questions each, on clips of eleven sources. The score is the mean of the tasks' accuracies.
"""
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal

from eval.frame.benchmark import Row, Scored
from eval.frame.choices import accuracy, grouped, letters, mean_accuracy, remarks, unparsed, verdict
from eval.frame.clips import Unusable
from eval.frame.tasks import ChoiceTasks, Prompt, truth
from eval.parsers import chooser
from mm.media.images import Limits
from mm.media.sampling import MVBench as MVBenchSampling
from mm.media.sampling import Sampling

TASKS = 20
BODY = "Question: {question}\nOptions:\n{options}\n"
SYSTEM = ("Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of objects, and the action and "
          "pose of persons. Based on your observations, select the best option that accurately addresses the question.\n")
PROMPTS = {
    "official": Prompt(f"{SYSTEM}{BODY}Only give the best option.", "Best option:(", "("),
    "video_ccam": Prompt(f"{BODY}Answer with the option's letter from the given choices directly."),
    "lmms_eval": Prompt("Question:{question}\nOption:\n{options}\nOnly give the best option.")}


class MVBench(ChoiceTasks):
    """Questions on the user's copy: `json/<task>.json` and `video/<source>/...`.

    Args:
        data: folder of the copy. layout: where its tasks lie: "mvbench", "mvbench_segments" (clips that are cut already, as lmms-eval has them) or a
            JSON file. tasks: titles of those to ask, all by default.
        prompt: whose wording, answer prefix included; it decides the number.
        sampling: which frames are seen, by default the official sixteen. limits: of clips. unusable: refuse or leave out missing and damaged ones.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval", "video_ccam", "strict")
    prompts = PROMPTS

    def __init__(
        self, data: str, layout: str = "mvbench", tasks: Sequence[str] = (), prompt: Literal["official", "video_ccam", "lmms_eval"] = "official",
        sampling: Sampling | None = None, limits: Limits | None = None, unusable: Unusable = "refuse", max_new_tokens: int = 100,
    ) -> None:
        super().__init__(data, layout, tasks, prompt, sampling or MVBenchSampling(16), limits, unusable, max_new_tokens)

    def judge(self, row: Row, parser: str) -> Row:
        # lmms-eval's mean leaves out what is empty
        return verdict(parse(self._reply(row), letters(row["candidates"]), parser), row["label"], parser != "lmms_eval" or row["answer"] != "")

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return self.noted(score(rows))

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        def official_row(row: Row) -> Row:
            return {"task_type": row["task"], "video": row["clip"], "question": row["question"], "pred": self._reply(row), "gt": truth(row)}

        return {"official.json": [official_row(row) for row in rows]}

    def _reply(self, row: Row) -> str:
        """What the official script reads: the first line, behind what is returned of the prefix."""
        returned = PROMPTS[self.prompt].returned
        return returned + row["answer"].strip().split("\n")[0] if returned else row["answer"]


def official(text: str, letters: str) -> str:
    """The official reader compares the first word of the reply with "(b)", either in the other: every option for which it would say right.

    Nothing, or the "(" that it puts before an answer that stays empty, passes for every option; "A dog runs" for option A.
    """
    word = text.lower().split(" ")[0]
    return "".join(letter for letter in letters if word.replace(".", "") in f"({letter.lower()})" or f"({letter.lower()})" in word)


def parse(text: str, letters: str, parser: str = "official") -> str:
    """Letters of the options that the parser takes for chosen."""
    return official(text, letters) if parser == "official" else chooser(parser)(text, letters)


def score(rows: Sequence[Row]) -> Scored:
    """Accuracy a task, their mean, and the accuracy of all answers pooled. Rows: task, clip, choice, matched, correct, counted."""
    tasks = grouped(rows, "task")
    scores = {f"{task}/accuracy": accuracy(part) for task, part in tasks.items()}
    scores |= {"mean/accuracy": mean_accuracy(tasks), "pooled/accuracy": accuracy(rows)}
    partial = [f"the mean is over {len(tasks)} tasks; MVBench has {TASKS}"] * (len(tasks) != TASKS)
    return Scored(scores, len(rows), unparsed(rows), (*remarks(rows), *partial))
