"""A model that answers by rule, and items to ask it."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eval.frame.benchmark import Item
from eval.frame.runner import Answer
from mm.sample import Media


@dataclass
class Scripted:
    """A model that answers by rule and may be killed after some batches."""

    rule: Any
    batches: int = 10**9
    asked: list[str] = field(default_factory=list)
    identity: dict[str, str] = field(default_factory=lambda: {"name": "scripted"})
    lever: None = None
    config: dict[str, str] = field(default_factory=dict)

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        if not self.batches:
            raise KeyboardInterrupt
        self.batches -= 1
        self.asked += [item.id for item in items]
        return [Answer(self.rule(item), {"yes": -0.1, "no": -len(items) / 7} if item.candidates else None) for item in items]


def picture() -> tuple[Media, ...]:
    return (Media(np.full((1, 8, 8, 3), 9, np.uint8)),)


def items(pictures: int = 7) -> list[Item]:
    """Two splits that share their first question."""
    return [Item(f"{split}/{i}/{text}", f"p{i}", picture, text, {"split": split, "image": f"p{i}", "label": "yes"}, ("yes", "no"))
            for split, texts in (("random", ("a?", "b?")), ("popular", ("a?", "c?"))) for i in range(pictures) for text in texts]
