"""Benchmarks whose official script asks a language model what an answer is worth."""
from collections.abc import Mapping, Sequence
from pathlib import Path

from eval.frame.benchmark import Benchmark, Row
from eval.judges.base import Judge
from eval.judges.prompt import Prompt
from eval.judges.verdicts import Verdicts
from mm.parts import describe


class JudgedBenchmark(Benchmark):
    """judge: who is asked with the parser "official"; the other parsers of a subclass ask nobody. prompts: what the judge is asked, by name.

    Without a judge the answers are given and exported, and only read by the other parsers. They stay as they are when a judge comes or another one
    takes its place: neither it nor its prompts belong to `settings`.
    """

    def __init__(self, judge: Judge | None, prompts: Mapping[str, Prompt], max_new_tokens: int) -> None:
        self.max_new_tokens = max_new_tokens
        self._judge = judge
        self._prompts = prompts

    def check(self, parser: str) -> None:
        if self._judge is not None and parser == "official":
            self._judge.check()

    def reading(self, parser: str) -> Row:
        if self._judge is None or parser != "official":
            return {}
        texts = {name: prompt.text for name, prompt in self._prompts.items()}
        return {"judge": {"name": self._judge.name, **describe(self._judge)}, "judge_prompts": texts}

    def replies(self, prompt: str, values: Sequence[Mapping[str, str]], folder: Path) -> list[str]:
        """The judge's replies to the named prompt with each of `values`, in order, from its file in `folder` as far as it has them."""
        if self._judge is None:
            raise ValueError(f"{type(self).__name__} has no judge to ask")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{type(self).__module__.rpartition('.')[2]}.verdicts.jsonl"
        return Verdicts(file).ask(self._judge, [self._prompts[prompt].fill(each) for each in values])

