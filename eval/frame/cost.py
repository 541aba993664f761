"""What answers cost: tokens, forward passes, time and memory, batch by batch, added up over everything that was resumed."""
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from eval.frame.benchmark import Row

MEBIBYTE = 2**20


class Paid(Protocol):
    """An answer: the tokens that were generated for it, its end included, and the forward passes that its row went through."""

    @property
    def generated(self) -> int: ...

    @property
    def forwards(self) -> float: ...


@dataclass(frozen=True)
class Spent:
    """On one batch. forwards: of single rows. peak_memory_mb: of the process so far (resident set) on CPU, of this batch on CUDA. start: when the run
    that answered it was started, which tells pieces apart; process: which of its `processes`."""

    answers: int
    tokens: int
    forwards: float
    seconds: float
    peak_memory_mb: float
    start: float
    process: int
    processes: int


class Meter:
    """Measures batches of one run. device: where the model is."""

    def __init__(self, device: str, start: float, process: int = 0, processes: int = 1) -> None:
        self.device, self.start, self.process, self.processes = device, start, process, processes
        self.began = 0.0

    def begin(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self.device)
        self.began = time.perf_counter()

    def end(self, answers: Sequence[Paid]) -> Spent:
        """Of the batch since `begin`."""
        seconds = time.perf_counter() - self.began
        tokens, forwards = sum(answer.generated for answer in answers), sum(answer.forwards for answer in answers)
        return Spent(len(answers), tokens, round(forwards, 3), round(seconds, 4), round(self._peak(), 1), self.start, self.process, self.processes)

    def _peak(self) -> float:
        if self.device.startswith("cuda"):
            import torch

            return torch.cuda.max_memory_allocated(self.device) / MEBIBYTE
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / MEBIBYTE if sys.platform == "darwin" else peak / 1024  # bytes there, kibibytes elsewhere


def total(spent: Sequence[Spent], answers: int, device: str) -> Row:
    """The cost of a result of so many answers.

    measured: answers whose cost is known; all, unless some are left without timings. starts, processes: in how many pieces, and by how many at most
    at once. seconds: of answering, added up over processes, without loading and scoring; so tokens_per_second is that of one process.
    forwards_per_token: forward passes of rows over tokens; 1 for plain decoding, less where reading candidates shows what would be decoded.
    """
    measured, tokens, seconds = (sum(getattr(each, name) for each in spent) for name in ("answers", "tokens", "seconds"))
    return {
        "answers": answers, "measured": measured, "starts": len({each.start for each in spent}),
        "processes": max((each.processes for each in spent), default=0), "device": device, "tokens": tokens, "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds, 2) if seconds else None,
        "forwards_per_token": round(sum(each.forwards for each in spent) / tokens, 4) if tokens else None,
        "peak_memory_mb": max((each.peak_memory_mb for each in spent), default=None)}
