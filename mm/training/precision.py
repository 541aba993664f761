"""The arithmetic that is fastest here: of two processors with bfloat16 instructions, one multiplies it at twice the speed of float32, one at half."""
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

import torch
from lightning.pytorch.plugins import MixedPrecision

from mm.training.flops import peak_flops


@cache
def fastest_dtype(kind: str) -> torch.dtype:
    """bfloat16 or float32, whichever a device of this kind ("cpu", "cuda") multiplies faster. The two are far from equal, so that a second process on
    the same machine finds the same, and a resumed run goes on as it began.
    """
    if kind != "cpu":
        return torch.bfloat16
    return max((torch.bfloat16, torch.float32), key=lambda dtype: peak_flops(torch.device(kind), dtype))


class FastestPrecision(MixedPrecision):
    """`bf16-mixed` where bfloat16 is the faster of the two, plain float32 elsewhere. For `trainer.plugins`; `trainer.precision` overrules it.

    device: kind of the device that trains.
    """

    def __init__(self, device: str = "cpu") -> None:
        super().__init__("bf16-mixed", device)
        if fastest_dtype(device) == torch.float32:
            self.precision = "32-true"  # type: ignore[assignment]

    @contextmanager
    def forward_context(self) -> Generator[None, None, None]:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16-mixed"):
            yield
