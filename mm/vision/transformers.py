"""Any vision tower of transformers as an encoder: CLIP, SigLIP, DINOv2 and their like."""
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mm.vision.base import VisionEncoder, square
from mm.vision.resize import Resize

CLIP_STATISTICS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_STATISTICS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF_STATISTICS = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


class Transformers(VisionEncoder):
    """Patch features of a vision transformer; class and register tokens, which stand first, are left out.

    Args:
        name_or_config: a name or local folder with pretrained safetensors weights; or a configuration with `model_type`
            ("clip_vision_model", "siglip_vision_model", "dinov2", ...) for fresh ones. Of a two-tower model the vision tower is taken.
        layer: hidden state that is taken, counted from the end; -1 is the model's last output, -2 is LLaVA's choice.
        mean, std: of pixels in [0, 1]; by default those of the checkpoint, else of the family.
    """

    def __init__(self, name_or_config: str | dict[str, Any], layer: int = -1, mean: list[float] | None = None, std: list[float] | None = None,
                 resize: Resize | None = None) -> None:
        super().__init__(resize)
        self.name_or_config, self.layer, self.mean, self.std = name_or_config, layer, mean, std
        self.model = tower(name_or_config)
        config = self.model.config
        if not hasattr(config, "patch_size") or not hasattr(config, "image_size"):
            raise ValueError(f"Transformers: {config.model_type} does not divide a picture of fixed size into patches; "
                             "use a ViT-like encoder, or mm.vision.Timm")
        if (reason := self.refuses(layer)) is not None:
            raise ValueError(f"Transformers: layers are counted from the end, and {reason}; got layer={layer}")
        size, patch = square(config.image_size), square(config.patch_size)
        found_mean, found_std = statistics(name_or_config, config.model_type)
        self.mean, self.std = list(mean or found_mean), list(std or found_std)
        self.geometry(config.hidden_size, size, (size[0] // patch[0], size[1] // patch[1]), tuple(self.mean), tuple(self.std))

    def features(self, x: Tensor) -> Tensor:
        return self.features_at(x, ())[0]

    def features_at(self, x: Tensor, levels: Sequence[int]) -> list[Tensor]:
        self.check(levels)
        wanted = [self.layer, *levels]
        out = self.model(pixel_values=x, output_hidden_states=any(layer != -1 for layer in wanted))
        hidden = [out.last_hidden_state if layer == -1 else out.hidden_states[layer] for layer in wanted]
        return [each[:, each.shape[1] - self.grid[0] * self.grid[1]:] for each in hidden]

    def refuses(self, level: int) -> str | None:
        deepest = self.model.config.num_hidden_layers + 1  # the embeddings are a hidden state too
        return None if -deepest <= level < 0 else f"its hidden states are -{deepest} to -1"

    def rebuild(self) -> dict[str, Any]:
        config = self.model.config.to_diff_dict() | {"model_type": self.model.config.model_type}
        return {"class_path": "mm.vision.Transformers", "init_args": {
            "name_or_config": config, "layer": self.layer, "mean": self.mean, "std": self.std, "resize": self.resize}}


def tower(name_or_config: str | dict[str, Any]) -> Any:
    """The vision tower, pretrained for a name, fresh for a configuration. ValueError with what is wrong."""
    from transformers import CONFIG_MAPPING, AutoConfig, AutoModel

    if isinstance(name_or_config, dict):
        settings = dict(name_or_config)
        kind = settings.pop("model_type", None)
        if kind not in CONFIG_MAPPING:
            raise ValueError(f"transformers has no model_type {kind!r}; 'clip_vision_model', 'siglip_vision_model' and 'dinov2' are some that it has")
        config = CONFIG_MAPPING[kind](**settings)
        config = getattr(config, "vision_config", config)
        if hasattr(config, "vision_use_head"):
            config.vision_use_head = False  # its pooling would be trained by nothing
        return AutoModel.from_config(config)
    try:
        config = AutoConfig.from_pretrained(name_or_config)
        config = getattr(config, "vision_config", config)
        if hasattr(config, "vision_use_head"):
            config.vision_use_head = False
        return AutoModel.from_pretrained(name_or_config, config=config, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"no vision model {name_or_config!r}: {str(error).strip().splitlines()[0]}; give a name that is on disk or may be fetched, "
                         "or a folder with config.json and model.safetensors") from error


def statistics(name_or_config: str | dict[str, Any], kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the checkpoint's preprocessor, else of the family."""
    if isinstance(name_or_config, str):
        from transformers.image_processing_base import ImageProcessingMixin

        try:
            settings, _ = ImageProcessingMixin.get_image_processor_dict(name_or_config)
            return tuple(settings["image_mean"]), tuple(settings["image_std"])
        except (OSError, KeyError):
            pass
    if "siglip" in kind:
        return HALF_STATISTICS
    return CLIP_STATISTICS if "clip" in kind else IMAGENET_STATISTICS
