"""LoRA: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022. An adapter that PEFT saved, merged into a language model."""
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedModel

from mm.language.anatomy import text_decoder

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>A|B)\.weight")
BESIDE = re.compile(r"(?P<module>.+)\.(?:lora_(?:embedding_A|embedding_B|magnitude_vector)|base_layer)(?:\.weight|\.bias)?")
PREFIX = "base_model.model."  # what PEFT writes before every name
SHOWN = 8  # names in an error

Shapes = Mapping[str, tuple[int, ...]]


class Named(nn.Module):
    """Modules under the names by which an adapter knows them."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


def merge(model: PreTrainedModel, directory: Path) -> dict[str, Any]:
    """Adds the adapter's products to the weights of `model`; its modules stay the same objects, so hooks and the seam stay. Returns what the
    adapter's configuration says of it, as plain JSON values.

    model: a causal LM or a vision-language model of transformers. The adapter may have been trained on it, on its language model alone, or on it as
    releases of transformers before 4.52 named its parts.

    RuntimeError without the peft package. ValueError for a directory without an adapter in safetensors, for another method than LoRA, and naming the
    modules that the model lacks or that have another shape: then the adapter was trained on another base.
    """
    config, shapes = read_config(directory), read_shapes(directory / WEIGHTS)
    problems = {home: misfits(home, shapes) for home in (model, *outer_names(model))}
    fits = next((home for home, found in problems.items() if not found.said), None)
    if fits is None:
        raise ValueError(f"the adapter {directory} does not fit {type(model).__name__}: {min(problems.values()).said}. It was trained on "
                         f"{config.get('base_model_name_or_path') or 'a base that it does not name'} ({CONFIG}); give the model that it belongs to")
    _merge(fits, directory)
    return {"base": config.get("base_model_name_or_path"), **{name: config.get(name) for name in ("r", "lora_alpha", "target_modules", "use_dora")}}


def read_config(directory: Path) -> dict[str, Any]:
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"no adapter in {directory}: {CONFIG} cannot be read ({error}); give the folder that PEFT saved") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        found = config.get("peft_type") if isinstance(config, dict) else type(config).__name__
        raise ValueError(f"{directory / CONFIG} describes {found}, and only LORA is merged into weights; merge it yourself and give the model")
    return config


def read_shapes(path: Path) -> Shapes:
    """Of the tensors, by name without PEFT's prefix; nothing is loaded."""
    if not path.is_file():
        raise ValueError(f"{path} is missing; an adapter is read from safetensors only (PEFT: save_pretrained(..., safe_serialization=True))")
    try:
        with safe_open(path, "pt") as file:
            return {name.removeprefix(PREFIX): tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error


def outer_names(model: PreTrainedModel) -> list[nn.Module]:
    """The language model under the names that it has alone, and that it had within a vision-language model of older releases."""
    head = model.get_output_embeddings()
    alone = Named(model=text_decoder(model), **({} if head is None else {"lm_head": head}))
    return [alone, Named(language_model=alone)]


class Misfit(NamedTuple):
    """absent: how many modules there are not. said: why an adapter does not fit, "" where it does."""

    absent: int
    said: str


def misfits(home: nn.Module, shapes: Shapes) -> Misfit:
    modules, absent, misshapen = dict(home.named_modules()), dict[str, None](), list[str]()
    for name, shape in shapes.items():
        factor, beside = FACTOR.fullmatch(name), BESIDE.fullmatch(name)
        owner = (factor or beside)["module"] if factor or beside else name.rpartition(".")[0]  # type: ignore[index]
        replaced = not factor and not beside and isinstance(modules.get(owner.rpartition(".")[0]), Named)  # where the model would not see it
        if owner not in modules or replaced:
            absent[owner] = None
        elif factor and isinstance(weight := modules[owner].weight, nn.Parameter):
            wide = shape[1] if factor["side"] == "A" else shape[0]
            expected = weight.shape[1] if factor["side"] == "A" else weight.shape[0]
            if weight.dim() == 2 and wide != expected:
                misshapen.append(f"{owner} is {list(weight.shape)} and lora_{factor['side']} {list(shape)}")
    said = [f"{len(names)} {what}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
            for what, names in (("modules are not there", list(absent)), ("have another shape", misshapen)) if names]
    return Misfit(len(absent), "; ".join(said))


def _merge(home: nn.Module, directory: Path) -> None:
    try:
        from peft import LoraConfig, PeftModel
    except ImportError as error:
        raise RuntimeError("a LoRA adapter needs PEFT; install it with: pip install 'mm-attention[lora]'") from error
    config = LoraConfig.from_pretrained(str(directory))
    config.task_type = None  # a class of PEFT's for the task would ask for more than modules
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        adapted = PeftModel.from_pretrained(home, str(directory), config=config)
        missing = next((str(each.message) for each in told if "missing adapter keys" in str(each.message)), None)
        if missing:
            adapted.unload()
            raise ValueError(f"the adapter {directory} does not hold weights for all modules that its {CONFIG} names: {missing[:600]}")
        adapted.merge_and_unload(safe_merge=True)
    vars(home).pop("peft_config", None)
