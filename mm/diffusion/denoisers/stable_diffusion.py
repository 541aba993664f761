"""Stable Diffusion 1.x and 2.x: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022."""
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mm.diffusion.compiled import uncompiled
from mm.diffusion.denoiser import Denoiser
from mm.diffusion.text import Text


class StableDiffusion(Denoiser):
    """A UNet that reads tokens by cross-attention, and nothing besides."""

    names, part = "Stable Diffusion 1 and 2", "unet"

    @classmethod
    def matches(cls, pipe: Any) -> bool:
        return plain_unet(pipe) and pipe.unet.config.addition_embed_type is None

    def __call__(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        dtype = self.network.dtype
        return self.network(latents.to(dtype), timestep, encoder_hidden_states=text.tokens.to(dtype), return_dict=False)[0].to(latents.dtype)

    def read(self, prompts: Sequence[str]) -> Text:
        return Text(self.pipe.encode_prompt(list(prompts), self.device, 1, False)[0])


def plain_unet(pipe: Any) -> bool:
    """A UNet that takes noisy latents and nothing beside them in its channels, and no guidance as an input."""
    from diffusers import UNet2DConditionModel
    unet = uncompiled(getattr(pipe, "unet", None))
    if not isinstance(unet, UNet2DConditionModel) or not hasattr(pipe, "encode_prompt"):
        return False
    config = pipe.unet.config
    return config.in_channels == pipe.vae.config.latent_channels and config.time_cond_proj_dim is None and config.class_embed_type is None
