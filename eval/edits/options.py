"""What can be said on the command line of `python -m eval.edits`."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.edits.pie import SIDE, TYPES
from eval.edits.world import Kind
from eval.frame.usable import OnError


@dataclass(frozen=True)
class PieOptions:
    """PIE-Bench on a model, under one recipe.

    Args:
        model: folder of a pipeline of diffusers.
        recipe: YAML of what the edit does, as in configs/edit.
        data: the user's copy of PIE-Bench, with mapping_file.json and annotation_images.
        clip: folder of a CLIP, of transformers or open_clip; PIE-Bench reports ViT-L/14. Without it no CLIP figures.
        structure: weights of DINO ViT-B/8 as timm has it (vit_base_patch8_224.dino). Without them no structure distance.
        lpips: weights of torchvision's squeezenet1_1. Without them no LPIPS.
        types: of edits, all by default.
        limit: edits of each type.
        side: pixels of the pictures that the model draws.
        seed: of the noise, the same for every edit.
        batch_size: edits at a time.
        on_error: "stop" at a picture that cannot be read or an edit that fails, or "skip" and count it.
        out: folder of the results, by default <model>/eval/pie.
        device: cpu, cuda ...
        dtype: of the weights, e.g. float16; as they were saved by default.
        overwrite: discard edits that an earlier run left.
    """

    model: str
    recipe: str
    data: str
    clip: str | None = None
    structure: str | None = None
    lpips: str | None = None
    types: tuple[str, ...] = TYPES
    limit: int | None = None
    side: int = SIDE
    seed: int = 0
    batch_size: int = 1
    on_error: OnError = "stop"
    out: str | None = None
    device: str = "cpu"
    dtype: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class WorldOptions:
    """The world's edits on a model that draws it, a row of the table for each recipe.

    Args:
        model: folder of a pipeline of diffusers, such as runs/edit/pipeline.
        recipes: YAML files of what an edit does, or folders of them; a row each, in this order.
        kinds: what changes.
        size: pairs of each kind.
        batch_size: edits at a time.
        out: folder of the results, by default <model>/eval/world.
        device: cpu, cuda ...
        dtype: of the weights, e.g. float16; as they were saved by default.
        overwrite: discard edits that an earlier run left.
    """

    model: str
    recipes: tuple[str, ...]
    kinds: tuple[Kind, ...] = ("colour", "shape")
    size: int = 64
    batch_size: int = 8
    out: str | None = None
    device: str = "cpu"
    dtype: str | None = None
    overwrite: bool = False


def law_of(model: str | None) -> dict[str, Any]:
    """The world and the captions that a model of `train.py` learned from, as its run says beside it; {} of another model."""
    import yaml

    config = Path(model or ".").resolve().parent / "config.yaml"
    if model is None or not config.is_file():
        return {}
    data = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("data") or {}
    train = data.get("train") or {}
    if not isinstance(train, dict) or train.get("class_path") not in ("data.world.Edits", "data.world.edits.Edits"):
        return {}
    return {name: value for name, value in (train.get("init_args") or {}).items() if name in ("world", "captions", "side")}
