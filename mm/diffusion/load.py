"""Pipelines of diffusers on disk."""
import inspect
from pathlib import Path
from typing import Any

import torch

from mm.diffusion.quiet import quiet


def load(folder: str | Path, device: str = "cpu", dtype: str | None = None) -> Any:
    """A pipeline of a local folder, from safetensors, with no code of the folder's own. dtype: of the weights, like "float16"; as they were saved by
    default. ValueError for a folder that holds none."""
    from diffusers import DiffusionPipeline

    import mm.diffusion.codec  # noqa: F401 a pipeline may name it, and diffusers imports nothing for a folder's sake

    if not (Path(folder) / "model_index.json").is_file():
        raise ValueError(f"{folder} holds no pipeline of diffusers: model_index.json is missing; give a folder that `save_pretrained` wrote")
    kind = getattr(torch, dtype, None) if dtype else None
    if dtype and not isinstance(kind, torch.dtype):
        raise ValueError(f"{dtype!r} is no dtype of torch; use float32, bfloat16 or float16")
    try:
        with quiet():
            pipe = DiffusionPipeline.from_pretrained(
                str(folder), torch_dtype=kind, use_safetensors=True, local_files_only=True, **_left_out(folder))
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise ValueError(f"cannot load the pipeline {folder}: {error}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def _left_out(folder: str | Path) -> dict[str, None]:
    """Text encoders that the pipeline was saved without (SD3 without T5): diffusers notes them as null or not at all, and asks for them."""
    import diffusers

    said = diffusers.DiffusionPipeline.load_config(folder)
    kind = getattr(diffusers, str(said.get("_class_name")), None)
    names = () if kind is None else inspect.signature(kind.__init__).parameters
    return {name: None for name in names if name.startswith(("text_encoder", "tokenizer")) and said.get(name, [None])[0] is None}
