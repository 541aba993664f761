"""MLVU, generation: Zhou et al., "MLVU: Benchmarking Multi-task Long Video Understanding", CVPR 2025.

Sub-scene captioning and summary. G-Avg is what a judge, GPT-4 in the paper, gives to the answers: they are exported for it, and not marked here.
"""
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eval.frame.benchmark import Row, Scored
from eval.frame.choices import grouped, share
from eval.frame.clips import ClipBenchmark, Question, Unusable
from eval.frame.intervals import clustered
from eval.frame.layout import chosen, entries, read_layout
from mm.media.images import Limits
from mm.media.sampling import MVBench as MVBenchSampling
from mm.media.sampling import Sampling

INSTRUCTION = "Carefully watch this video and pay attention to every detail. Based on your observations, answer the given questions.\n"


class MLVUGeneration(ClipBenchmark):
    """Open questions on the user's copy: `json/8_sub_scene.json`, `json/9_summary.json` and `video/8_sub_scene/...`.

    Args:
        data: folder of the copy. layout: where its tasks lie: "mlvu_generation" or a JSON file. tasks: names of those to ask, all by default.
        sampling: which frames are seen, by default the official sixteen. limits: of clips. unusable: refuse or leave out missing and damaged ones.
    """

    def __init__(
        self, data: str, layout: str = "mlvu_generation", tasks: Sequence[str] = (), sampling: Sampling | None = None, limits: Limits | None = None,
        unusable: Unusable = "refuse", max_new_tokens: int = 1000,
    ) -> None:
        super().__init__(sampling or MVBenchSampling(16), limits, unusable, max_new_tokens)
        self.data = data
        self.layout = layout
        self.tasks = tuple(tasks)

    def questions(self) -> list[Question]:
        return [
            Question(f"{entry.task}/{entry.number}", entry.clip, INSTRUCTION + entry.row["question"],
                     {"task": entry.task, "question": entry.row["question"], "truth": entry.row["answer"]}, entry.task)
            for entry in entries(Path(self.data), chosen(read_layout(self.layout), self.tasks), "question", "answer")]

    def judge(self, row: Row, parser: str) -> Row:
        return {"words": len(row["answer"].split())}

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return self.noted(score(rows))

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        return {f"{task}.official.json": [
            {"video_name": Path(row["clip"]).name, "Q": row["question"], "A": row["truth"], "pred": row["answer"]} for row in part]
            for task, part in grouped(rows, "task").items()}


def score(rows: Sequence[Row]) -> Scored:
    """What is known without a judge: share of answers that say anything, and their mean length in words. Rows: task, clip, words."""
    scores = {}
    for task, part in grouped(rows, "task").items():
        counts, clips = np.array([[row["words"], 1] for row in part], dtype=np.float64), [row["clip"] for row in part]
        scores[f"{task}/answered"] = share([row["words"] > 0 for row in part], clips)
        scores[f"{task}/words"] = clustered(clips, counts, lambda s: s[..., 0] / s[..., 1], len(part))
    remark = "G-Avg is a judge's mark: give the .official.json files to MLVU's evaluate_ssc.py (subPlot) and evaluate_summary.py (summary)"
    return Scored(scores, len(rows), sum(row["words"] == 0 for row in rows), (remark,))
