"""Any image tower of open_clip as an encoder: Ilharco et al., "OpenCLIP", 2021."""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mm.vision.base import Size, VisionEncoder, square
from mm.vision.resize import Resize

SMALLEST_TEXT = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}


class OpenCLIP(VisionEncoder):
    """Spatial features of an open_clip image tower, before its pooling.

    Args:
        name_or_config: "ViT-B-32", "hf-hub:org/repo", "local-dir:/folder"; or a configuration with `vision_cfg` and `embed_dim` for fresh weights.
        pretrained: tag or file of the weights; fresh weights if None. (Names with a scheme bring their own.)
        image_size: side, or (height, width); the model's own if None.
        layer: block whose output is taken, counted from the end; -1 is normalised as the tower's last output, -2 is LLaVA's choice.
        overrides: entries of the tower's `vision_cfg`, e.g. {"layers": 2, "width": 64}.
        mean, std: of pixels in [0, 1]; the model's own if None.
    """

    def __init__(self, name_or_config: str | dict[str, Any], pretrained: str | None = None, image_size: int | Size | None = None, layer: int = -1,
                 overrides: dict[str, Any] | None = None, mean: list[float] | None = None, std: list[float] | None = None,
                 resize: Resize | None = None) -> None:
        super().__init__(resize)
        self.name_or_config, self.pretrained, self.layer, self.overrides = name_or_config, pretrained, layer, overrides
        self.config = configuration(name_or_config)
        size = {} if image_size is None else {"image_size": square(image_size)}
        self.config["vision_cfg"] = {**self.config["vision_cfg"], **size, **(overrides or {})}
        visual = tower(name_or_config, pretrained, self.config)
        self.index = layer
        blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
        if layer >= 0 or (blocks is not None and layer < -len(blocks)):
            deepest = "the first" if blocks is None else f"-{len(blocks)}"
            raise ValueError(f"OpenCLIP: layers are counted from the end, -1 to {deepest}; got layer={layer}")
        if hasattr(visual, "prune_intermediate_layers"):  # later blocks and the pooled head would cost and learn nothing
            visual.prune_intermediate_layers([layer], prune_norm=layer != -1)
            self.index = -1
        self.visual = visual
        preprocess = getattr(visual, "preprocess_cfg", None) or {}
        self.mean, self.std = list(mean or preprocess["mean"]), list(std or preprocess["std"])
        trains = visual.training
        visual.eval()  # batch norms would learn from the blank frame
        with torch.no_grad():  # towers do not state their grid alike; one blank frame tells
            blank = torch.zeros(1, 3, *square(visual.image_size))
            _, width, rows, cols = self._map(blank).shape
        visual.train(trains)
        self.geometry(width, square(visual.image_size), (rows, cols), tuple(self.mean), tuple(self.std))

    def _map(self, x: Tensor) -> Tensor:
        return self.visual.forward_intermediates(
            x, indices=[self.index], stop_early=True, normalize_intermediates=self.layer == -1, intermediates_only=True)["image_intermediates"][0]

    def features(self, x: Tensor) -> Tensor:
        return self._map(x).flatten(2).transpose(1, 2)

    def features_at(self, x: Tensor, levels: Sequence[int]) -> list[Tensor]:
        self.check(levels)
        depth = len(self.visual.transformer.resblocks)  # without those behind `layer`
        index = {level: depth + level - self.layer - 1 for level in (self.layer, *levels)}
        taken = sorted(set(index.values()))
        maps = self.visual.forward_intermediates(x, indices=taken, stop_early=True, intermediates_only=True)["image_intermediates"]
        layers = {place: each.flatten(2).transpose(1, 2) for place, each in zip(taken, maps, strict=True)}
        if self.layer == -1:  # the tower would give all of them its norm
            layers[depth - 1] = self.visual.ln_post(layers[depth - 1])
        return [layers[index[level]] for level in (self.layer, *levels)]

    def refuses(self, level: int) -> str | None:
        blocks = getattr(getattr(self.visual, "transformer", None), "resblocks", None)
        if blocks is None:
            return f"its tower is a {type(self.visual).__name__}, not open_clip's own transformer; use mm.vision.Timm or Transformers"
        first = self.layer - len(blocks) + 1
        return None if first <= level <= self.layer else f"it has the layers {first} to {self.layer}" + (
            "; later ones were dropped" if self.layer < -1 else "")

    def rebuild(self) -> dict[str, Any]:
        config = {**self.config, "vision_cfg": {**self.config["vision_cfg"], "image_size": self.image_size}}
        return {"class_path": "mm.vision.OpenCLIP", "init_args": {
            "name_or_config": config, "layer": self.layer, "mean": self.mean, "std": self.std, "resize": self.resize}}


def configuration(name_or_config: str | dict[str, Any]) -> dict[str, Any]:
    """What decides the image tower: vision_cfg, embed_dim, quick_gelu. ValueError for a name that open_clip does not know."""
    import open_clip  # takes seconds

    config = name_or_config if isinstance(name_or_config, dict) else open_clip.get_model_config(name_or_config)
    if config is None or "vision_cfg" not in config:
        near = ", ".join(each for each in open_clip.list_models() if each.startswith(str(name_or_config)[:5]))
        raise ValueError(f"open_clip has no model {name_or_config!r}; " + (f"near names: {near}" if near else "see open_clip.list_models()"))
    return {"vision_cfg": dict(config["vision_cfg"]), "embed_dim": config["embed_dim"], "quick_gelu": bool(config.get("quick_gelu", False))}


def tower(name_or_config: str | dict[str, Any], pretrained: str | None, config: dict[str, Any]) -> Any:
    """The image tower alone, with weights where there are any to be had."""
    import open_clip

    named = isinstance(name_or_config, str)
    if named and (pretrained or ":" in str(name_or_config)):
        return open_clip.create_model(str(name_or_config), pretrained=pretrained, vision_cfg=config["vision_cfg"]).visual
    # The text tower is thrown away: build the smallest there is.
    vision = {key: False if key == "timm_model_pretrained" else value for key, value in config["vision_cfg"].items()}
    return open_clip.create_model("ViT-B-32", text_cfg=SMALLEST_TEXT, **{**config, "vision_cfg": vision}).visual
