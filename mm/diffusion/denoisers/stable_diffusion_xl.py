"""SDXL: Podell et al., "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis", ICLR 2024."""
from typing import Any

import torch
from torch import Tensor

from mm.diffusion.denoiser import Denoiser
from mm.diffusion.denoisers.stable_diffusion import plain_unet
from mm.diffusion.text import Text


class StableDiffusionXL(Denoiser):
    """A UNet that is told, beside tokens, a pooled text and the picture's size: taken as its original and target size, uncropped, as the pipeline's
    defaults are."""

    names = "SDXL"

    @classmethod
    def matches(cls, pipe: Any) -> bool:
        config = pipe.unet.config if plain_unet(pipe) else None
        return config is not None and config.addition_embed_type == "text_time" and not pipe.config.get("requires_aesthetics_score")

    @property
    def network(self) -> Any:
        return self.pipe.unet

    def __call__(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        dtype, factor = self.network.dtype, self.pipe.vae_scale_factor
        size = [latents.shape[-2] * factor, latents.shape[-1] * factor]
        if text.pooled is None:
            raise ValueError("StableDiffusionXL: the text has no pooled embedding, which SDXL reads; encode prompts with `text`.")
        times = torch.tensor([*size, 0, 0, *size], dtype=dtype, device=latents.device).repeat(len(latents), 1)
        return self.network(latents.to(dtype), timestep, encoder_hidden_states=text.tokens.to(dtype), return_dict=False,
                            added_cond_kwargs={"text_embeds": text.pooled.to(dtype), "time_ids": times})[0].to(latents.dtype)

    def _encoded(self, prompts: list[str], negatives: list[str]) -> tuple[Text, Text]:
        # without a negative prompt the pipeline has zeros for it, if its config says so
        negative = negatives if any(negatives) else None
        given, without, pooled, pooled_without = self.pipe.encode_prompt(prompts, device=self.device, num_images_per_prompt=1,
                                                                         do_classifier_free_guidance=True, negative_prompt=negative)
        return Text(given, pooled), Text(without, pooled_without)
