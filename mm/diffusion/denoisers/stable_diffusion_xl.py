"""SDXL: Podell et al., "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis", ICLR 2024."""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mm.diffusion.denoiser import Denoiser
from mm.diffusion.denoisers.stable_diffusion import plain_unet
from mm.diffusion.text import Text


class StableDiffusionXL(Denoiser):
    """A UNet that is told, beside tokens, a pooled text and the picture's size: taken as its original and target size, uncropped, as the pipeline's
    defaults are."""

    names, part = "SDXL", "unet"

    @classmethod
    def matches(cls, pipe: Any) -> bool:
        config = pipe.unet.config if plain_unet(pipe) else None
        return config is not None and config.addition_embed_type == "text_time" and not pipe.config.get("requires_aesthetics_score")

    def __call__(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        dtype, factor = self.network.dtype, self.pipe.vae_scale_factor
        size = [latents.shape[-2] * factor, latents.shape[-1] * factor]
        if text.pooled is None:
            raise ValueError("StableDiffusionXL: the text has no pooled embedding, which SDXL reads; encode prompts with `text`.")
        times = torch.tensor([*size, 0, 0, *size], dtype=dtype, device=latents.device).repeat(len(latents), 1)
        return self.network(latents.to(dtype), timestep, encoder_hidden_states=text.tokens.to(dtype), return_dict=False,
                            added_cond_kwargs={"text_embeds": text.pooled.to(dtype), "time_ids": times})[0].to(latents.dtype)

    def read(self, prompts: Sequence[str]) -> Text:
        given, _, pooled, _ = self.pipe.encode_prompt(list(prompts), device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False)
        return Text(given, pooled)

    def against(self, negatives: Sequence[str]) -> Text:
        if any(negatives) or not self.pipe.config.get("force_zeros_for_empty_prompt"):
            return self.read(negatives)
        empty = self.read(negatives)  # without a negative prompt the pipeline has zeros for it
        assert empty.pooled is not None
        return Text(torch.zeros_like(empty.tokens), torch.zeros_like(empty.pooled))
