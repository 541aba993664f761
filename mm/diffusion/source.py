"""Where a text-to-image pipeline comes from that is to be trained."""
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

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
    """Any text-to-image pipeline on disk that `denoiser` knows. path: the folder that diffusers saved, or a name that is in its cache."""

    whole_in_checkpoints = False

    def __init__(self, path: str) -> None:
        self.path = path

    def build(self, pictures: Pictures) -> Pipeline:
        if not Path(self.path).is_dir() and Path(self.path).is_absolute():
            raise ValueError(f"no pipeline at {self.path}: it is not a folder; give the one that holds model_index.json.")
        import mm.diffusion.codec  # noqa: F401 (diffusers loads parts of a pipeline only from modules that are there already)
        try:
            return DiffusionPipeline.from_pretrained(self.path, torch_dtype=torch.float32, **left_out(self.path))
        except (OSError, ValueError) as error:
            raise ValueError(f"no pipeline at {self.path}: {str(error).strip().splitlines()[0]}; give a folder with model_index.json.") from error


def left_out(path: str | Path) -> dict[str, None]:
    """Text encoders that the pipeline was saved without (SD3 without T5): diffusers notes them as null or not at all, and asks for them."""
    import inspect

    import diffusers
    said = DiffusionPipeline.load_config(path)
    kind = getattr(diffusers, str(said.get("_class_name")), None)
    names = () if kind is None else inspect.signature(kind.__init__).parameters
    return {name: None for name in names if name.startswith(("text_encoder", "tokenizer")) and said.get(name, [None])[0] is None}
