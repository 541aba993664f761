"""What a journal counts of a training: sums that travel, and the row that they become."""
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mm.training.flops import Work, peak_flops

Number = Tensor | float | int | bool


class Tally(ABC):
    """names: of the sums, in the order of `count`; `loss`, `weight`, `samples` and `skipped` are among them."""

    names: tuple[str, ...]

    def start(self, module: Any, bf16: bool) -> None:  # noqa: B027 (most have nothing to prepare)
        """Before the first step of a run or of its resumption."""

    @abstractmethod
    def count(self, module: Any, drawn: Any) -> list[Number]:
        """Of one micro-batch."""

    @abstractmethod
    def row(self, total: Mapping[str, float], seconds: float) -> dict[str, float]:
        """What these sums say beside loss, rates and speeds of samples. seconds: that they took."""

    @abstractmethod
    def warnings(self, total: Mapping[str, float]) -> list[str]: ...

    @abstractmethod
    def validation(self, sums: list[float]) -> dict[str, float]:
        """From the summed losses of a validation to its row; no row where nothing was summed."""


class Tokens(Tally):
    """Of dialogues: accuracy of labelled tokens, tokens and labels a second, padding, model FLOP/s utilisation."""

    names = ("loss", "weight", "correct", "tokens", "places", "samples", "labels", "unlabelled", "skipped", "flop")

    def __init__(self) -> None:
        self.work: Work | None = None
        self.peak = float("nan")

    def start(self, module: Any, bf16: bool) -> None:
        self.work, self.peak = Work(module.vlm), peak_flops(module.device, torch.bfloat16 if bf16 else torch.float32)

    def count(self, module: Any, drawn: Any) -> list[Number]:
        losses, batch = module.losses, drawn.batch
        tokens, labels = batch.tokens.is_real.sum(), (batch.labels != -100).sum()
        flop = self.work.of(batch, int(tokens), int(labels)) if self.work is not None and tokens.device.type == "cpu" else 0.0
        return [losses.total.detach(), losses.weight, losses.correct, tokens, batch.input_ids.numel(), batch.input_ids.shape[0], labels,
                losses.weight == 0, len(drawn.skipped), flop]

    def row(self, total: Mapping[str, float], seconds: float) -> dict[str, float]:
        return {"accuracy": total["correct"] / (total["weight"] or float("nan")), "tokens/s": total["tokens"] / seconds,
                "labels/s": total["labels"] / seconds, "pad": 1 - total["tokens"] / max(1.0, total["places"]),
                "mfu": total["flop"] / seconds / self.peak, **({"unlabelled": total["unlabelled"]} if total["unlabelled"] else {})}

    def warnings(self, total: Mapping[str, float]) -> list[str]:
        said = f"{int(total['unlabelled'])} batches since the last row have no label and taught nothing; do their turns have answers?"
        return [said] if total["unlabelled"] else []

    def validation(self, sums: list[float]) -> dict[str, float]:
        total, weight, correct = sums
        return {"val/loss": total / weight, "val/accuracy": correct / weight} if weight else {}


class Pictures(Tally):
    """Of captioned pictures: how many a second."""

    names = ("loss", "weight", "samples", "pictures", "skipped")

    def count(self, module: Any, drawn: Any) -> list[Number]:
        return [module.losses.total.detach(), module.losses.weight, drawn.batch.samples, len(drawn.batch.captions), len(drawn.skipped)]

    def row(self, total: Mapping[str, float], seconds: float) -> dict[str, float]:
        return {"pictures/s": total["pictures"] / seconds}

    def warnings(self, total: Mapping[str, float]) -> list[str]:
        return []

    def validation(self, sums: list[float]) -> dict[str, float]:
        total, weight = sums
        return {"val/loss": total / weight} if weight else {}
