"""A model as a folder of JSON and safetensors: strict to read, safe to write."""
from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mm.language.streams import has_stream
from mm.parts import build, describe

if TYPE_CHECKING:
    from mm.models.vlm import VLM

FORMAT = 1
CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer"
SHOWN = 12  # names in an error; hundreds help nobody


def description(vlm: VLM) -> dict[str, Any]:
    names = ("vision", "projector", "language", "mask", "positions", "keep", "layout")
    rules = [describe(rule, offline=True) for rule in vlm.reweight]
    return {"format": FORMAT, **{name: describe(getattr(vlm, name), offline=True) for name in names}, "reweight": rules,
            "max_length": vlm.max_length, **({} if vlm.streams is None else {"streams": describe(vlm.streams.stream, offline=True)})}


def check_streams(vlm: VLM) -> None:
    """ValueError where what would be described is not what the decoder holds, so that the loaded model would be another one."""
    if vlm.streams is not None and not vlm.streams.is_in:
        raise ValueError("the model's streams were taken out of its decoder, and would be in it again when it is loaded; set its streams to None")
    if vlm.streams is None and has_stream(vlm.language.model):
        raise ValueError("the decoder has a stream that is not the model's, and would not have it when it is loaded; take it out first (remove())")


def save(vlm: VLM, directory: Path) -> None:
    """All files are written beside their places and moved in at the end, so that what was there stays whole if anything fails."""
    check_streams(vlm)
    directory = directory.resolve()  # beside a link would be another disk, and "." has no name
    staging = directory.with_name(f".{directory.name}.writing")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        (staging / CONFIG).write_text(json.dumps(description(vlm), indent=2) + "\n", encoding="utf-8")
        vlm.language.tokenizer.save_pretrained(staging / TOKENIZER)
        save_file(unique(vlm), staging / WEIGHTS, metadata={"format": "pt"})
        files = [path for path in staging.rglob("*") if path.is_file()]
        for path in files:
            with path.open("rb") as file:
                os.fsync(file.fileno())  # a disk may turn out full only now
        for path in files:
            place = directory / path.relative_to(staging)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def load(kind: type[VLM], directory: Path, allow: Sequence[str]) -> VLM:
    home = directory if (directory / CONFIG).exists() else directory / "model"
    if not (home / CONFIG).exists():
        raise ValueError(f"no model in {directory}: neither it nor its model/ holds {CONFIG}; "
                         "give the folder that VLM.save wrote, or its run directory")
    try:
        config = json.loads((home / CONFIG).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{home / CONFIG} is not JSON: {error}") from error
    if config.get("format") != FORMAT:
        raise ValueError(f"{home / CONFIG} has format {config.get('format')!r} and this version reads {FORMAT}; "
                         "it was written by another version, or not by VLM.save")
    config["language"]["init_args"]["tokenizer"]["init_args"]["path"] = str(home / TOKENIZER)
    arguments = {name: build(part, allow) if isinstance(part, dict) else part for name, part in config.items() if name not in ("format", "reweight")}
    arguments["reweight"] = [build(rule, allow) for rule in config.get("reweight", ())]
    vlm = kind(**arguments)
    fill(vlm, read(home / WEIGHTS), home / WEIGHTS)
    return vlm.eval()


def unique(module: nn.Module) -> dict[str, Tensor]:
    """The state of `module` with tied weights once, under their first name."""
    seen: set[int] = set()
    state = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            seen.add(id(value))
            state[name] = value.detach().contiguous()
    return state


def read(path: Path) -> dict[str, Tensor]:
    """Weights from a safetensors file. ValueError for anything else; a pickle is never opened."""
    if not path.exists():
        raise ValueError(f"{path} is missing; the folder holds a configuration without weights")
    try:
        return load_file(path)
    except SafetensorError as error:
        with path.open("rb") as file:
            start = file.read(2)
        pickled = start == b"PK" or (start[:1] == b"\x80" and start[1:] <= b"\x05")  # torch.save's zip archive, or a bare pickle
        looks = "it looks like a pickle, which could run code and is not opened" if pickled else "it is damaged or cut short"
        raise ValueError(f"{path} is not a safetensors file: {looks} ({error})") from error


def fill(module: nn.Module, weights: Mapping[str, Tensor], source: Path | str) -> None:
    """Loads `weights` into `module`; every name and shape must match. ValueError listing what does not, before anything is changed."""
    expected = unique(module)
    missing, unexpected = [name for name in expected if name not in weights], [name for name in weights if name not in expected]
    misshapen = [f"{name} is {list(weights[name].shape)} and should be {list(value.shape)}" for name, value in expected.items()
                 if name in weights and weights[name].shape != value.shape]
    problems = [f"{len(names)} {what}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
                for what, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)) if names]
    if problems:
        raise ValueError(f"{source} does not fit this architecture. {'; '.join(problems)}. Load it with the configuration it was saved with")
    module.load_state_dict(dict(weights), strict=False)  # tied names are the only ones absent
