"""A model that answers about clips by rule, and how benchmarks on clips are run with it."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.__main__ import Options
from eval.frame.benchmark import Item, Row
from eval.frame.runner import Answer
from tests.clips import numbers


@dataclass
class Scripted:
    """Answers by rule, and keeps which frames it was shown."""

    rule: Callable[[Item], str]
    seen: dict[str, list[int]] = field(default_factory=dict)
    identity: Row = field(default_factory=lambda: {"name": "scripted"})
    lever: None = None
    config: Row = field(default_factory=dict)

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        for item in items:
            (media,) = item.media()
            assert media.kind == "clip"
            assert media.times is not None
            self.seen[item.id] = numbers(media.frames)
        return [Answer(self.rule(item)) for item in items]


def options(out: Path, parser: str = "official", limit: int | None = None) -> Options:
    return Options(model="m", out=str(out), batch_size=4, parser=parser, limit=limit)  # type: ignore[arg-type]
