"""Where a text-to-image pipeline comes from that is to be trained."""
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor

from mm.diffusion.load import load

Pictures = Callable[[int, int], Tensor]
Pipeline = Any  # a `DiffusionPipeline`: diffusers finds its parts at run time and types none of them


class Source(ABC):
    """whole_in_checkpoints: whether frozen parts are kept in checkpoints too, as those must be that nothing else can give again."""

    whole_in_checkpoints: bool

    @abstractmethod
    def build(self, pictures: Pictures) -> Pipeline:
        """The pipeline, float32 on the CPU. pictures: (n, side) → the first n training pictures, float32 [n, 3, side, side] in [−1, 1]; fewer where
        there are no more."""


class Pretrained(Source):
    """Any text-to-image pipeline on disk that `denoiser` knows. path: the folder that diffusers saved, from safetensors."""

    whole_in_checkpoints = False

    def __init__(self, path: str) -> None:
        self.path = path

    def build(self, pictures: Pictures) -> Pipeline:
        return load(self.path, dtype="float32")
