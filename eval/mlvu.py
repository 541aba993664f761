"""MLVU, multiple choice: Zhou et al., "MLVU: Benchmarking Multi-task Long Video Understanding", CVPR 2025.

Seven tasks on videos of minutes to hours. M-Avg is the mean of the tasks' accuracies. The two generation tasks are `mlvu_generation`.
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

TASKS = 7
BODY = "Question: {question}\nOptions:\n{options}\n"
SYSTEM = ("Carefully watch this video and pay attention to every detail. Based on your observations, select the best option that accurately "
          "addresses the question.\n")
PROMPTS = {
    "official": Prompt(f"{SYSTEM}{BODY}Only give the best option.", "Best option:("),
    "video_ccam": Prompt(f"{BODY}Answer with the option's letter from the given choices directly."),
    "lmms_eval": Prompt("{question}\n{options}\nOnly give the best option.\nBest option: (")}


class MLVU(ChoiceTasks):
    """Questions on the user's copy: `json/1_plotQA.json` ... and `video/1_plotQA/...`.

    Args:
        data: folder of the copy. layout: where its tasks lie: "mlvu" or a JSON file. tasks: names of those to ask, all by default.
        prompt: whose wording, answer prefix included; it decides the number.
        sampling: which frames are seen, by default the official sixteen. limits: of clips. unusable: refuse or leave out missing and damaged ones.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval", "video_ccam", "strict")
    prompts = PROMPTS

    def __init__(
        self, data: str, layout: str = "mlvu", tasks: Sequence[str] = (), prompt: Literal["official", "video_ccam", "lmms_eval"] = "official",
        sampling: Sampling | None = None, limits: Limits | None = None, unusable: Unusable = "refuse", max_new_tokens: int = 100,
    ) -> None:
        super().__init__(data, layout, tasks, prompt, sampling or MVBenchSampling(16), limits, unusable, max_new_tokens)

    def judge(self, row: Row, parser: str) -> Row:
        return verdict(parse(row["answer"], letters(row["candidates"]), parser), row["label"])

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return self.noted(score(rows))

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        def official_row(row: Row) -> Row:
            return {"pred": row["answer"], "gt": truth(row), "question": row["question"], "question_type": row["task"], "video": row["clip"]}

        return {"official.json": [official_row(row) for row in rows]}


def official(text: str, letters: str) -> str:
    """The official reader: the character before the first ")", or else the whole answer must be the letter. "B." is nothing."""
    end = text.find(")")
    letter = text if end < 0 else text[max(end - 1, 0):end]
    return letter if letter and letter in tuple(letters) else ""


def parse(text: str, letters: str, parser: str = "official") -> str:
    """Letters of the options that the parser takes for chosen."""
    if parser == "official":
        return official(text, letters)
    return chooser(parser, "choice_ranked" if parser == "lmms_eval" else "choice")(text, letters)


def score(rows: Sequence[Row]) -> Scored:
    """Accuracy a task, M-Avg (their mean, the paper's figure), and the accuracy of all answers pooled, which the official script prints as Avg.
    Rows: task, clip, choice, matched, correct, counted."""
    tasks = grouped(rows, "task")
    scores = {f"{task}/accuracy": accuracy(part) for task, part in tasks.items()}
    scores |= {"m_avg": mean_accuracy(tasks), "pooled/accuracy": accuracy(rows)}
    partial = [f"M-Avg is over {len(tasks)} tasks; MLVU has {TASKS} with choices"] * (len(tasks) != TASKS)
    return Scored(scores, len(rows), unparsed(rows), (*remarks(rows), *partial))
