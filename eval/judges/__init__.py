"""Judges: language models that are asked what an answer is worth, where a benchmark's official script asks one.

A judge is an option of a benchmark, `judge: {class_path: eval.judges.Endpoint, init_args: {...}}`. Its replies are kept on disk (`verdicts`), and the
benchmark reads them as the official script reads the replies of its own judge.
"""
from eval.judges.base import Judge, JudgeError
from eval.judges.endpoint import Endpoint
from eval.judges.judged import JudgedBenchmark
from eval.judges.local import Local
from eval.judges.prompt import Prompt
from eval.judges.verdicts import Verdicts

__all__ = ["Endpoint", "Judge", "JudgeError", "JudgedBenchmark", "Local", "Prompt", "Verdicts"]
