"""Where words and pixels look, as learning asks for it."""
from typing import Protocol

from torch import Tensor

from mm.diffusion.text import Text


class Reader(Protocol):
    """A denoiser that is asked where it looks: latents [B, C, h, w], a timestep (scalar or [B]) and B prompts, like its own call."""

    def words(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        """[B, H, W, K]: attention of each pixel to each of K keys of the text, mean over heads and over the attentions of one size. Gradients reach
        latents and text."""

    def pixels(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        """[B, H, W, H · W]: attention of each pixel to each pixel, mean over heads and over the attentions of one size. Without gradients."""
