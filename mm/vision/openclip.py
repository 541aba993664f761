"""Any image tower of open_clip as an encoder: Ilharco et al., "OpenCLIP", 2021."""
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mm.vision.base import Size, VisionEncoder, square
from mm.vision.resize import Resize


class OpenCLIP(VisionEncoder):
    """Spatial features of an open_clip image tower, before its pooling.

    Args:
        name: "ViT-B-32", "hf-hub:org/repo", or "local-dir:/folder".
        pretrained: tag or file of the weights; fresh weights if None. (Names with a scheme bring their own.)
        image_size: side, or (height, width); the model's own if None.
        layer: block whose output is taken, counted from the end; -1 is normalised as the tower's last output, -2 is LLaVA's choice.
        overrides: entries of the tower's `vision_cfg`, e.g. {"layers": 2, "width": 64}.
    """

    def __init__(self, name: str, pretrained: str | None = None, image_size: int | Size | None = None, layer: int = -1,
                 overrides: dict[str, Any] | None = None, resize: Resize | None = None) -> None:
        import open_clip  # takes seconds

        super().__init__(resize)
        self.name, self.pretrained, self.layer, self.overrides = name, pretrained, layer, overrides
        config = open_clip.get_model_config(name)
        if config is None and ":" not in name:
            near = ", ".join(each for each in open_clip.list_models() if each.startswith(name[:5]))
            raise ValueError(f"open_clip has no model {name!r}" + (f"; near names: {near}" if near else "; see open_clip.list_models()"))
        size = None if image_size is None else square(image_size)
        arguments: dict[str, Any] = {}
        if overrides is not None:  # these replace the tower's configuration whole, its size included
            arguments["vision_cfg"] = {**(config or {}).get("vision_cfg", {}), **({"image_size": size} if size else {}), **overrides}
        # Without weights of its own the text tower is dead weight: build the smallest there is.
        if pretrained is None and config is not None:
            arguments["text_cfg"] = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
        visual = open_clip.create_model(name, pretrained=pretrained, force_image_size=size, **arguments).visual
        if hasattr(visual, "prune_intermediate_layers"):  # later blocks and the pooled head would cost and learn nothing
            visual.prune_intermediate_layers([layer], prune_norm=layer != -1)
            self.index = -1
        else:
            self.index = layer
        self.visual = visual
        self.geometry_of(visual)

    def geometry_of(self, visual: Any) -> None:
        """Sets the geometry from one blank frame: towers of open_clip do not state their grid alike."""
        preprocess = getattr(visual, "preprocess_cfg", None) or {}
        size = square(visual.image_size)
        mean = tuple(preprocess.get("mean") or getattr(visual, "image_mean", None) or (0.48145466, 0.4578275, 0.40821073))
        std = tuple(preprocess.get("std") or getattr(visual, "image_std", None) or (0.26862954, 0.26130258, 0.27577711))
        with torch.no_grad():
            _, width, rows, cols = self._map(torch.zeros(1, 3, *size)).shape
        self.geometry(width, size, (rows, cols), mean, std)

    def _map(self, x: Tensor) -> Tensor:
        return self.visual.forward_intermediates(
            x, indices=[self.index], stop_early=True, normalize_intermediates=self.layer == -1, intermediates_only=True)["image_intermediates"][0]

    def features(self, x: Tensor) -> Tensor:
        return self._map(x).flatten(2).transpose(1, 2)

    def rebuild(self) -> dict[str, Any]:
        if Path(self.name.removeprefix("local-dir:")).exists() or self.name.startswith("hf-hub:"):
            raise ValueError(f"OpenCLIP({self.name!r}) cannot be rebuilt without its source; use a name that open_clip knows")
        return {"class_path": "mm.vision.OpenCLIP", "init_args": {
            "name": self.name, "pretrained": None, "image_size": self.image_size, "layer": self.layer, "overrides": self.overrides,
            "resize": self.resize}}
