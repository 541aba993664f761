"""A pretrained vision-language model and its processor, from a local directory and from nowhere else."""
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.utils import logging

from mm.language.base import torch_dtype
from mm.language.tokenizer import first_line


def read_config(directory: Path) -> dict[str, Any]:
    """The directory's config.json, {} where it has none that can be read."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def is_pretrained(directory: Path) -> bool:
    """Whether the directory's config.json is one of transformers."""
    return "model_type" in read_config(directory)


def check_kind(directory: Path) -> None:
    """ValueError for a model that reads no pictures, before anything is loaded."""
    config = read_config(directory)
    if config["model_type"] not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and "auto_map" not in config:
        raise ValueError(f"{directory} holds no vision-language model: {config['model_type']} is none that this release of transformers knows; give "
                         "the folder of one, with its processor")


def loaded_model(directory: Path, dtype: str | None, trust_remote_code: bool) -> PreTrainedModel:
    """In evaluation mode. dtype: as the weights were saved where None. ValueError for anything but a vision-language model in safetensors."""
    wanted: torch.dtype | str = "auto" if dtype is None else torch_dtype(dtype)
    try:
        with without_bars():
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
                         "preprocessor_config.json, and the tokenizer, as the model's publisher ships them"
                         f"{code_hint(directory, trust_remote_code)})") from error
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise ValueError(f"{directory} has a {type(processor).__name__} for a processor, which does not read pictures beside text; copy the "
                         "preprocessor_config.json that belongs to the model")
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def code_hint(directory: Path, trust_remote_code: bool) -> str:
    asks = "auto_map" in read_config(directory)
    return "; it comes with code of its own, which runs only if you say so: trust_remote_code" if asks and not trust_remote_code else ""


@contextmanager
def without_bars() -> Iterator[None]:
    """No progress bars of transformers inside the block."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
