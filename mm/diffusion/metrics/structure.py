"""Structure distance: Tumanyan et al., "Splicing ViT Features for Semantic Appearance Transfer", CVPR 2022.

How alike the parts of a picture are to each other says where its parts lie, whatever they look like. The keys of the last block of a DINO ViT-B/8
serve as descriptions of parts; two pictures are compared by the mean squared difference of their tables of cosine similarities.
"""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mm.diffusion.metrics.pictures import checked, tensor
from mm.diffusion.metrics.weights import state_of

SIDE, LONGEST = 224, 480  # pixels of the shorter and, at most, of the longer side (the latter from memory of the original)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class StructureDistance(nn.Module):
    """Of two pictures. Usually reported times 1000.

    Args:
        weights: state of the timm model, as a file (.safetensors, .pth) or as a mapping. Its classifier may be missing.
        name: of the timm model, a ViT with a class token.
        side: pixels of the shorter side that it looks at. Bilinear reduction, antialiased (our choice: older versions of torchvision did not).
    """

    def __init__(self, weights: str | Path | Mapping[str, Tensor], name: str = "vit_base_patch8_224.dino", side: int = SIDE) -> None:
        import timm

        super().__init__()
        try:
            model: Any = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"StructureDistance: timm has no ViT {name!r} that takes pictures of any size ({str(error).splitlines()[0]})") from error
        self.last: Any = model.blocks[-1].attn.qkv
        if model.num_prefix_tokens < 1:
            raise ValueError(f"StructureDistance compares with the class token; {name} has none")
        state = {key: value for key, value in state_of(weights).items() if not key.startswith("head.")}
        found = model.load_state_dict(state, strict=False)
        if found.missing_keys or found.unexpected_keys:
            raise ValueError(f"StructureDistance: the weights are not those of timm's {name}: {len(found.missing_keys)} tensors are missing and "
                             f"{len(found.unexpected_keys)} are unknown, such as {(found.missing_keys + found.unexpected_keys)[0]}")
        self.model: Any = model.eval()
        self.side = side

    @torch.inference_mode()
    def forward(self, first: np.ndarray, second: np.ndarray) -> float:
        """uint8 [H, W, 3] each; they may be of two sizes if both come out equal after the reduction."""
        a, b = self.keys(first), self.keys(second)
        if a.shape != b.shape:
            raise ValueError(f"structure distance: pictures of one shape are compared; got {first.shape[:2]} and {second.shape[:2]}")
        return float(structure_distance(a, b))

    def keys(self, picture: np.ndarray) -> Tensor:
        """Keys of the last block, [1, 1 + rows * cols, width], class token first, heads side by side."""
        kept: list[Tensor] = []
        handle = self.last.register_forward_hook(lambda module, given, out: kept.append(out))
        try:
            self.model.forward_features(self.prepared(checked(picture)))
        finally:
            handle.remove()
        return keys_of(kept[0])

    def prepared(self, picture: np.ndarray) -> Tensor:
        """Reduced, cut to whole patches (as a strided convolution does), normalised."""
        weight = self.last.weight
        x = tensor(picture).to(weight.device)
        height, width = x.shape[-2:]
        scale = min(self.side / min(height, width), LONGEST * self.side / SIDE / max(height, width))
        x = F.interpolate(x, size=(round(height * scale), round(width * scale)), mode="bilinear", antialias=True)
        patch = self.model.patch_embed.patch_size
        x = x[..., :x.shape[-2] // patch[0] * patch[0], :x.shape[-1] // patch[1] * patch[1]]
        if not x.numel():
            raise ValueError(f"structure distance: a picture of {height} x {width} pixels is too long and narrow to hold a patch of {patch}")
        mean, std = (torch.tensor(values, device=x.device).view(1, 3, 1, 1) for values in (MEAN, STD))
        return ((x - mean) / std).to(weight.dtype)


def keys_of(qkv: Tensor) -> Tensor:
    """The middle third of fused rows [B, t, 3 * width]."""
    return qkv.chunk(3, dim=-1)[1]


def self_similarity(keys: Tensor) -> Tensor:
    """Cosine of every pair of rows: [B, t, width] → [B, t, t], float32."""
    rows = F.normalize(keys.float(), dim=-1)
    return rows @ rows.transpose(-1, -2)


def structure_distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference of the self-similarities of keys [B, t, width]."""
    return F.mse_loss(self_similarity(first), self_similarity(second))
