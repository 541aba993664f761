"""One call for the denoisers of diffusers pipelines, and what stands around it: prompts, pictures, steps."""
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from mm.diffusion.schedule import Levels, Schedule, levels, schedule
from mm.diffusion.text import Text


class Denoiser(ABC):
    """A text-to-image pipeline of diffusers, its parts used as its own call uses them. `denoiser(pipe)` finds the family.

    Called with latents [B, C, h, w], a timestep (scalar or [B]) and B prompts it returns the model's raw prediction [B, C, h, w] in the dtype of the
    latents; the model computes in its own. Gradients reach the latents and the text's tokens. The pipeline is not changed.
    """

    names: ClassVar[str]  # of the models, for messages
    part: ClassVar[str] = "transformer"  # the pipeline's attribute that denoises

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    @classmethod
    @abstractmethod
    def matches(cls, pipe: Any) -> bool:
        """Whether the pipeline is of this family."""

    @property
    def network(self) -> Any:
        """The module that denoises."""
        return getattr(self.pipe, self.part)

    @abstractmethod
    def __call__(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        """The raw prediction."""

    @abstractmethod
    def read(self, prompts: Sequence[str]) -> Text:
        """B prompts through the pipeline's `encode_prompt`, with gradients for text encoders that want them."""

    def against(self, negatives: Sequence[str]) -> Text:
        """B prompts that guidance leads away from; the same, unless the pipeline reads them otherwise."""
        return self.read(negatives)

    @property
    def device(self) -> torch.device:
        return torch.device(self.pipe._execution_device)

    @property
    def unit(self) -> int:
        """Sides of pictures are multiples of this many pixels: those of a latent, times the side of a transformer's patch."""
        return int(self.pipe.vae_scale_factor) * int(self.network.config.get("patch_size", 1))

    @torch.no_grad()
    def text(self, prompts: Sequence[str], negative: str | Sequence[str] = "") -> tuple[Text, Text]:
        """B prompts and what guidance leads away from, each as the pipeline encodes it. ValueError where the encoder overflows."""
        negatives = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
        if not prompts or len(negatives) != len(prompts):
            raise ValueError(f"{type(self).__name__}: {len(prompts)} prompts and {len(negatives)} negative ones; expected at least one, and "
                             "one negative prompt for all or one each.")
        found = self.read(prompts), self.against(negatives)
        for each in found:
            _finite(each.tokens, f"{type(self.pipe).__name__}: a text encoder", "run text encoders in float32 or bfloat16")
        return found

    @property
    def usual_size(self) -> tuple[int, int]:
        """(height, width) in px of the pictures that the model was made for. ValueError where it does not say."""
        side = getattr(self.pipe, "default_sample_size", None) or self.network.config.get("sample_size")
        if side is None:
            raise ValueError(f"{type(self.pipe).__name__} does not say how large its pictures are; give `side`")
        height, width = (side, side) if isinstance(side, int) else side
        return int(height * self.pipe.vae_scale_factor), int(width * self.pipe.vae_scale_factor)

    @torch.no_grad()
    def encode(self, pictures: Tensor | Image | Sequence[Image], draw: Callable[[torch.Size], Tensor] | None = None) -> Tensor:
        """Pictures [B, 3, H, W] in [−1, 1], or PIL's of one size → scaled latents [B, C, h, w] in float32: the VAE's mean, or, in training, what it
        is unsure about drawn: `draw` gives standard normal [B, C, h, w] for [C, h, w].

        ValueError for sides that are no multiples of `unit` (the pipeline would resize without a word), and where the VAE overflows. A picture need
        not be square."""
        pixels = pictures if isinstance(pictures, Tensor) else _pixels(pictures)
        if pixels.ndim != 4 or pixels.shape[1] != 3 or any(side % self.unit for side in pixels.shape[-2:]):
            raise ValueError(f"{type(self).__name__}: found pictures {list(pixels.shape)}, expected [B, 3, H, W] with H and W multiples of "
                             f"{self.unit}; crop or resize them first.")
        vae = self.pipe.vae
        latents = self._coded(pixels.to(self.device, vae.dtype), draw)
        _finite(latents, *_vae_in(vae))
        return self._scaled(latents.float())

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, C, h, w] → pictures [B, 3, H, W] in float32, about [−1, 1] and not clipped. ValueError where the VAE overflows."""
        vae = self.pipe.vae
        pixels = self._pictured(self._unscaled(latents.to(self.device).float()).to(vae.dtype))
        _finite(pixels, *_vae_in(vae))
        return pixels.float()

    def schedule(self, steps: int, latents: Tensor) -> Schedule:
        """The steps that the pipeline would take for `latents` [B, C, h, w], whose size shifts the levels of some flows."""
        return schedule(self.pipe.scheduler, steps, self._shift(latents), self._sigmas(steps))

    def levels(self) -> Levels:
        """How noisy each training timestep is."""
        return levels(self.pipe.scheduler)

    def native(self, latents: Tensor) -> Tensor:
        """Latents [..., C, h, w] as the pipeline's own loop and its callbacks hold them."""
        return latents

    def _coded(self, pixels: Tensor, draw: Callable[[torch.Size], Tensor] | None) -> Tensor:
        code = self.pipe.vae.encode(pixels)
        if not hasattr(code, "latent_dist"):
            return code.latent
        mean: Tensor = code.latent_dist.mode()
        deviation = getattr(code.latent_dist, "std", None)  # a codec that is sure of its value has none
        return mean if draw is None or deviation is None else mean + deviation * draw(mean.shape[1:]).to(mean)

    def _pictured(self, latents: Tensor) -> Tensor:
        return self.pipe.vae.decode(latents, return_dict=False)[0]

    def _scaled(self, latents: Tensor) -> Tensor:
        config = self.pipe.vae.config
        return (latents - (config.get("shift_factor") or 0.0)) * config.scaling_factor

    def _unscaled(self, latents: Tensor) -> Tensor:
        config = self.pipe.vae.config
        return latents / config.scaling_factor + (config.get("shift_factor") or 0.0)

    def _shift(self, latents: Tensor) -> float | None:
        return None

    def _sigmas(self, steps: int) -> list[float] | None:
        return None


def shift(scheduler: Any, tokens: int, most: float = 1.15) -> float | None:
    """mu of a scheduler whose levels depend on the number of image tokens, None for another: Esser et al., "Scaling Rectified Flow Transformers for
    High-Resolution Image Synthesis", ICML 2024, on the line that pipelines draw. most: where the scheduler does not say it."""
    config = scheduler.config
    if not config.get("use_dynamic_shifting"):
        return None
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", most)
    return float(least + (most - least) * (tokens - few) / (many - few))


def call_default(pipe: Any, argument: str) -> Any:
    """The default that the pipeline's call passes on to `encode_prompt`, which has another one for itself."""
    import inspect
    return inspect.signature(type(pipe).__call__).parameters[argument].default


def _pixels(pictures: Image | Sequence[Image]) -> Tensor:
    images = [pictures] if isinstance(pictures, Image) else list(pictures)
    sizes = {image.size for image in images}
    if len(sizes) != 1:
        raise ValueError(f"found pictures of sizes {sorted(sizes)}, expected at least one, and one size in a batch; invert them one by one.")
    return torch.stack([torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) for image in images]).float() / 127.5 - 1


def _vae_in(vae: Any) -> tuple[str, str]:
    asked = " as its config asks (force_upcast)" if getattr(vae.config, "force_upcast", False) else ""
    return f"{type(vae).__name__}: the VAE in {vae.dtype}", f"call pipe.vae.to(torch.float32){asked}, or load a VAE made for float16"


def _finite(found: Tensor, what: str, remedy: str) -> None:
    if not bool(found.isfinite().all()):
        raise ValueError(f"{what} gave NaN or infinity: float16 overflows, or the weights are broken; {remedy}.")
