"""A pretrained vision-language model and its processor, from a local directory and from nowhere else."""
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from mm.language.base import torch_dtype
from mm.language.tokenizer import first_line


def is_pretrained(directory: Path) -> bool:
    """Whether the directory's config.json is one of transformers."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "model_type" in config


def loaded_model(directory: Path, dtype: str | None, trust_remote_code: bool) -> PreTrainedModel:
    """In evaluation mode. dtype: as the weights were saved where None. ValueError for anything but a vision-language model in safetensors."""
    wanted: torch.dtype | str = "auto" if dtype is None else torch_dtype(dtype)
    try:
        model: Any = AutoModelForImageTextToText.from_pretrained(
            directory, dtype=wanted, local_files_only=True, use_safetensors=True, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ValueError(f"{directory} holds no vision-language model that can be loaded: {first_line(error)} (expected config.json of one that "
                         f"transformers knows, and weights in safetensors{code_hint(directory, trust_remote_code)})") from error
    return model.eval()  # type: ignore[no-any-return]


def loaded_processor(directory: Path, trust_remote_code: bool) -> Any:
    """With padding on the left, as generation wants it. ValueError where the directory has none."""
    try:
        processor = AutoProcessor.from_pretrained(directory, local_files_only=True, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{directory} holds no processor that can be loaded: {first_line(error)} (expected processor_config.json or "
                         "preprocessor_config.json, and the tokenizer, as the model's publisher ships them)") from error
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise ValueError(f"{directory} has a {type(processor).__name__} for a processor, which does not read pictures beside text; copy the "
                         "preprocessor_config.json that belongs to the model")
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def code_hint(directory: Path, trust_remote_code: bool) -> str:
    asks = "auto_map" in json.loads((directory / "config.json").read_text(encoding="utf-8"))
    return "; it comes with code of its own, which runs only if you say so: trust_remote_code" if asks and not trust_remote_code else ""
