"""Captions at the same length: hallucination grows with length, so a run that says less hallucinates less without seeing better.

Each pair of captions of one picture is cut to as many words as the shorter one has, and the benchmark judges both again. The shorter caption stays as
it is; of the longer one, the beginning is judged. This definition is ours. What it cannot see is a run that would have erred later only.
"""
import re
from collections.abc import Sequence
from dataclasses import dataclass

from eval.frame.benchmark import Benchmark, Row

WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Matched:
    """first, second: judged rows of captions of equal numbers of words. cut: how many of the first run and of the second were shortened.
    words: mean number that is left."""

    first: list[Row]
    second: list[Row]
    cut: tuple[int, int]
    words: float


def matched(benchmark: Benchmark, parser: str, first: Sequence[Row], second: Sequence[Row]) -> Matched:
    """Rows of the same items in the same order. Raises what `judge` raises where its vocabulary lies elsewhere now."""
    lengths = [min(word_count(one["answer"]), word_count(other["answer"])) for one, other in zip(first, second, strict=True)]
    sides = [[cut_to(benchmark, parser, row, length) for row, length in zip(rows, lengths, strict=True)] for rows in (first, second)]
    shortened = [sum(row is not before for row, before in zip(side, rows, strict=True)) for side, rows in zip(sides, (first, second), strict=True)]
    return Matched(sides[0], sides[1], (shortened[0], shortened[1]), sum(lengths) / len(lengths))


def cut_to(benchmark: Benchmark, parser: str, row: Row, length: int) -> Row:
    """The row judged on the first `length` words of its answer; itself where it has no more."""
    if word_count(row["answer"]) <= length:
        return row
    answered = {**row, "answer": beginning(row["answer"], length)}
    return {**answered, **benchmark.judge(answered, parser)}


def word_count(text: str) -> int:
    """Words as blanks part them."""
    return sum(1 for _ in WORD.finditer(text))


def beginning(text: str, length: int) -> str:
    """The text up to the end of its word number `length`."""
    ends = [found.end() for found in WORD.finditer(text)]
    return text[:ends[length - 1]] if length else ""


def is_judged_alike(benchmark: Benchmark, parser: str, rows: Sequence[Row], sample: int = 20) -> bool:
    """Whether judging gives what the rows say, on some of them: else cut captions would be judged by another code than whole ones."""
    step = max(1, len(rows) // sample)
    return all({**row, **benchmark.judge(row, parser)} == row for row in rows[::step])
