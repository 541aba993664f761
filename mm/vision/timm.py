"""Any image model of timm as an encoder: Wightman, "PyTorch Image Models", 2019."""
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mm.vision.base import Size, VisionEncoder, square
from mm.vision.resize import Resize


class Timm(VisionEncoder):
    """Spatial features of a timm model, transformer or convolutional; class and register tokens are left out.

    Args:
        name: "vit_small_patch16_dinov3.lvd1689m", "convnext_tiny", ...
        image_size: side, or (height, width); the model's own if None.
        pretrained: fetch weights.
        layer: block whose output is taken, counted from the end; -1 is normalised as the model's last output, -2 is LLaVA's choice. Later blocks are
            dropped.
        overrides: further arguments of the timm model, e.g. {"depth": 2}.
    """

    def __init__(self, name: str, image_size: int | Size | None = None, pretrained: bool = True, layer: int = -1,
                 overrides: dict[str, Any] | None = None, resize: Resize | None = None) -> None:
        import timm  # takes seconds

        super().__init__(resize)
        self.name, self.pretrained, self.layer, self.overrides = name, pretrained, layer, overrides
        arguments: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0, **(overrides or {})}
        try:
            model = create(name, arguments, image_size)
        except RuntimeError as error:
            near = ", ".join(timm.list_models(f"*{name.split('.')[0][:8]}*")[:5])
            raise ValueError(f"timm: {str(error).splitlines()[0]}" + (f"; near names: {near}" if near else "")) from error
        places = list(model.feature_info) if isinstance(model.feature_info, list) else model.feature_info.info
        if not -len(places) <= layer < 0:
            raise ValueError(f"Timm: {name} has {len(places)} feature layers, counted from the end as -1 to -{len(places)}; got layer={layer}")
        info = places[layer]
        self.kinds = [(int(place["num_chs"]), int(place["reduction"])) for place in places]
        settings = model.pretrained_cfg
        size = square(image_size or settings["input_size"][1:])
        stride = int(info["reduction"])
        self.index = len(places) + layer
        model.prune_intermediate_layers([self.index], prune_norm=layer != -1)
        self.model = model
        self.norm = {"norm": True} if layer == -1 and "norm" in dict(model.named_children()) else {}
        self.geometry(int(info["num_chs"]), size, (-(-size[0] // stride), -(-size[1] // stride)), settings["mean"], settings["std"])

    def features(self, x: Tensor) -> Tensor:
        maps = self.model.forward_intermediates(x, indices=[self.index], stop_early=True, output_fmt="NCHW", intermediates_only=True, **self.norm)
        return maps[0].flatten(2).transpose(1, 2)

    def features_at(self, x: Tensor, levels: Sequence[int]) -> list[Tensor]:
        self.check(levels)
        index = {level: len(self.kinds) + level for level in (self.layer, *levels)}
        taken = sorted(set(index.values()))
        maps = self.model.forward_intermediates(x, indices=taken, stop_early=True, output_fmt="NCHW", intermediates_only=True)
        layers = {place: each.flatten(2).transpose(1, 2) for place, each in zip(taken, maps, strict=True)}
        if self.norm:  # which the model would give all of them
            layers[self.index] = self.model.norm(layers[self.index])
        return [layers[index[level]] for level in (self.layer, *levels)]

    def refuses(self, level: int) -> str | None:
        if not -len(self.kinds) <= level <= self.layer:
            return f"it has the layers -{len(self.kinds)} to {self.layer}" + ("; later ones were dropped" if self.layer < -1 else "")
        (width, stride), (own_width, own_stride) = self.kinds[level], self.kinds[self.layer]
        if (width, stride) == (own_width, own_stride):
            return None
        return (f"there {self.name} has {width} channels at a stride of {stride} pixels, and {own_width} at {own_stride} at its last; "
                "use a transformer that keeps both")

    def rebuild(self) -> dict[str, Any]:
        return {"class_path": "mm.vision.Timm", "init_args": {
            "name": self.name, "image_size": self.image_size, "pretrained": False, "layer": self.layer, "overrides": self.overrides,
            "resize": self.resize}}


def create(name: str, arguments: dict[str, Any], image_size: int | Size | None) -> Any:
    """The timm model; `img_size` is told to those alone that have one (convolutional models take any)."""
    import timm

    if image_size is None:
        return timm.create_model(name, **arguments)
    try:
        return timm.create_model(name, img_size=square(image_size), **arguments)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        return timm.create_model(name, **arguments)
