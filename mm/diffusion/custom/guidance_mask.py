"""Where a subject may act: the adaptive mask of Huang et al., "RealCustom: Narrowing Real Text Word for Real-Time Open-Domain Text-to-Image
Customization", CVPR 2024, as RealCustom++ (Mao et al., 2024) has released it."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mm.diffusion.custom.spread import Spread

Scale = Literal["none", "max_norm", "min_max_norm", "min_max_per_channel"]
Size = tuple[int, int]
TINY = 1e-6  # of the release


@dataclass(frozen=True)
class AdaptiveMask:
    """How the target word's attention maps become a mask: resized, averaged over layers, scaled, and cut down to a scope.

    scope: share of the pixels. scale: "max_norm" divides the average by its maximum; "min_max_norm" takes it to [0, 1]; "min_max_per_channel", the
    default of the released pipeline, takes each layer there first and then the average. keep: "top" keeps the int(scope · pixels) largest,
    "threshold" those of at least 1 - scope. values: kept pixels keep their "influence" or are 1 ("binary"). spread: attention among pixels that the
    average is passed through, None as in the release's pipelines, which record none.
    """

    scope: float = 0.25
    scale: Scale = "min_max_per_channel"
    keep: Literal["top", "threshold"] = "top"
    values: Literal["influence", "binary"] = "influence"
    spread: Spread | None = None

    def __post_init__(self) -> None:
        if not 0 < self.scope <= 1:
            raise ValueError(f"AdaptiveMask: scope {self.scope} is no share of the picture; expected more than 0, up to 1.")

    @classmethod
    def released(cls, modes: Sequence[str], scope: float) -> Self:
        """From the release's list of modes. ValueError for an unknown one, and for two scales: there "max_norm" would win without a word."""
        scales = [mode for mode in modes if mode in get_args(Scale)]
        unknown = set(modes) - {*scales, "threshold", "binary", "selfmap_min_max_per_channel", "selfmap_max_norm"}
        if unknown or len(scales) > 1:
            raise ValueError(f"AdaptiveMask: found modes {list(modes)}, expected one of {', '.join(get_args(Scale))}, with 'threshold', 'binary', "
                             "'selfmap_max_norm' and 'selfmap_min_max_per_channel' at will.")
        scale: Scale = next((each for each in get_args(Scale) if each in modes), "none")
        spread = None
        if "selfmap_min_max_per_channel" in modes:
            spread = Spread("min_max_per_channel", "flattened")
        elif "selfmap_max_norm" in modes:
            spread = Spread("max_norm", "flattened")
        return cls(scope, scale, "threshold" if "threshold" in modes else "top", "binary" if "binary" in modes else "influence", spread)

    def __call__(self, maps: Sequence[Tensor], size: Size, self_maps: Sequence[Tensor] = ()) -> Tensor:
        """maps: of each layer [B, h, w], mean over heads and sum over the word's tokens. size: of the mask; the release takes half the latents'
        sides. self_maps: [B, n, n] for `spread`, n pixels in raster order. Returns [B, *size] float32 in [0, 1] but for scale "none".

        Each side is resized to its own length, so pictures need not be square.
        """
        if not maps:
            raise ValueError("AdaptiveMask: found no attention map of the word; expected one of every cross-attention layer.")
        if (self.spread is None) != (not self_maps):
            raise ValueError(f"AdaptiveMask: found {len(self_maps)} self-attention maps with spread={self.spread}; give both or neither.")
        layers = torch.stack([interpolate(each[:, None].float(), size, mode="bilinear")[:, 0] for each in maps], 1)  # [B, L, h, w]
        if self.scale == "min_max_per_channel":
            layers = min_max(layers)
        average = layers.mean(1)
        if self.spread is not None:
            average = self.spread(average, self_maps)
        if self.scale == "max_norm":
            average = average / (average.amax((-2, -1), keepdim=True) + TINY)
        elif self.scale != "none":
            average = min_max(average)
        return self._cut(average.flatten(1)).view_as(average)

    def _cut(self, influence: Tensor) -> Tensor:
        """[B, pixels] with what is out of scope at 0."""
        if self.keep == "threshold":
            kept = influence >= 1 - self.scope
        else:
            count = int(influence.shape[1] * self.scope)
            if count == 0:
                raise ValueError(f"AdaptiveMask: scope {self.scope} of {influence.shape[1]} pixels is less than one; raise the scope or the size.")
            kept = torch.zeros_like(influence, dtype=torch.bool).scatter(1, influence.topk(count).indices, True)
        return kept.to(influence.dtype) if self.values == "binary" else influence.where(kept, 0.0)


def min_max(maps: Tensor) -> Tensor:
    """Each picture [..., h, w] to [0, 1]."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low + TINY)
