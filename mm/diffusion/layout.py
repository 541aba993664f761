"""How a denoiser lays out pictures and text: one small class a family."""
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from torch import Tensor, nn

from mm.diffusion.site import Place


@dataclass(frozen=True)
class Frame:
    """Of one call of the denoiser. latent: (height, width) of the latents. grid: (height, width) of the picture tokens of a transformer; None for
    U-Nets, whose attentions differ. pictures: picture tokens, those of reference pictures included; 0 for U-Nets. text: keys; None without text.
    rows: batch size.
    """

    latent: tuple[int, int]
    grid: tuple[int, int] | None
    pictures: int
    text: int | None
    rows: int

    def grid_of(self, tokens: int) -> tuple[int, int] | None:
        """(height, width) of an attention among so many picture tokens, None if there is no such."""
        if self.grid is not None:
            return self.grid if tokens == self.pictures else None
        for level in range(10):
            size = (ceil(self.latent[0] / 2**level), ceil(self.latent[1] / 2**level))
            if prod(size) == tokens:
                return size
        return None


class Layout(ABC):
    """text_first: order of the tokens in joint attention. separate: the pipeline calls the denoiser for the negative prompt in a call of its own,
    after the conditional one.
    """

    text_first: bool = False
    separate: bool = False

    @abstractmethod
    def frame(self, denoiser: nn.Module, given: Mapping[str, Any]) -> Frame:
        """given: arguments of the denoiser's `forward` by name."""

    def place(self, name: str) -> Place:
        """Of an attention of this name."""
        return "block"


def _text(given: Mapping[str, Any]) -> int | None:
    text = given.get("encoder_hidden_states")
    return None if text is None else text.shape[1]


class UNet(Layout):
    """Stable Diffusion 1 and 2, SDXL: attention over pixels and over text in turn, at several resolutions."""

    def frame(self, denoiser: nn.Module, given: Mapping[str, Any]) -> Frame:
        sample: Tensor = given["sample"]
        height, width = sample.shape[-2:]
        return Frame((height, width), None, 0, _text(given), sample.shape[0])

    def place(self, name: str) -> Place:
        return "down" if name.startswith("down") else "mid" if name.startswith("mid") else "up"


class Patches(Layout):
    """PixArt, Sana and SD3: latents [B, C, h, w] cut into patches; SD3's joint attention has the picture first."""

    def frame(self, denoiser: nn.Module, given: Mapping[str, Any]) -> Frame:
        sample: Tensor = given["hidden_states"]
        height, width = sample.shape[-2:]
        patch = int(getattr(denoiser.config, "patch_size", 1))
        grid = (height // patch, width // patch)
        return Frame((height, width), grid, prod(grid), _text(given), sample.shape[0])


class Flux(Layout):
    """Flux: latents packed two by two, positions in `img_ids` [P, 3]; joint attention has the text first, also where blocks get one sequence."""

    text_first, separate = True, True

    def frame(self, denoiser: nn.Module, given: Mapping[str, Any]) -> Frame:
        sample: Tensor = given["hidden_states"]
        ids = given["img_ids"]
        ids = ids[0] if ids.dim() == 3 else ids
        own = ids[ids[:, 0] == ids[0, 0]]  # reference pictures (Kontext) count on in the first column
        height, width = (int(own[:, axis].max() - own[:, axis].min()) + 1 for axis in (1, 2))
        return Frame((2 * height, 2 * width), (height, width), sample.shape[1], _text(given), sample.shape[0])


class QwenImage(Layout):
    """Qwen-Image: latents packed two by two, sizes in `img_shapes`; joint attention has the text first."""

    text_first, separate = True, True

    def frame(self, denoiser: nn.Module, given: Mapping[str, Any]) -> Frame:
        sample: Tensor = given["hidden_states"]
        shape = given["img_shapes"][0]
        _, height, width = shape[0] if isinstance(shape, list) else shape
        return Frame((2 * height, 2 * width), (height, width), sample.shape[1], _text(given), sample.shape[0])


LAYOUTS: dict[str, Layout] = {
    "UNet2DConditionModel": UNet(), "PixArtTransformer2DModel": Patches(), "SanaTransformer2DModel": Patches(), "SD3Transformer2DModel": Patches(),
    "FluxTransformer2DModel": Flux(), "QwenImageTransformer2DModel": QwenImage(),
}


def layout_of(denoiser: nn.Module) -> Layout:
    """ValueError for a denoiser that is not known."""
    for base in type(denoiser).__mro__:
        if base.__name__ in LAYOUTS:
            return LAYOUTS[base.__name__]
    raise ValueError(f"how {type(denoiser).__name__} lays out text and picture is not known; known are {', '.join(LAYOUTS)}. "
                     "Give `mm.control(..., layout=...)` a subclass of mm.diffusion.layout.Layout that says it")
