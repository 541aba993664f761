"""PixArt: Chen et al., "PixArt-α: Fast Training of Diffusion Transformer for Photorealistic Text-to-Image Synthesis", ICLR 2024, and PixArt-Σ, ECCV
2024."""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mm.diffusion.compiled import uncompiled
from mm.diffusion.denoiser import Denoiser, call_default
from mm.diffusion.text import Text


class PixArt(Denoiser):
    """A transformer with cross-attention to T5 tokens, whose padding is hidden; some are told the picture's size. A learned variance is left out."""

    names = "PixArt"

    @classmethod
    def matches(cls, pipe: Any) -> bool:
        from diffusers import PixArtTransformer2DModel
        return isinstance(uncompiled(getattr(pipe, "transformer", None)), PixArtTransformer2DModel)

    def __call__(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        dtype = self.network.dtype
        found = self.network(latents.to(dtype), encoder_hidden_states=text.tokens.to(dtype), encoder_attention_mask=text.mask,
                             timestep=timestep.expand(len(latents)), added_cond_kwargs=self._sizes(latents), return_dict=False)[0]
        return found[:, :latents.shape[1]].to(latents.dtype)

    def _sizes(self, latents: Tensor) -> dict[str, Tensor | None]:
        if not self.network.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        height, width = (side * self.pipe.vae_scale_factor for side in latents.shape[-2:])
        told = {"resolution": torch.tensor([[float(height), float(width)]]), "aspect_ratio": torch.tensor([[height / width]])}
        return {name: value.to(latents.device, self.network.dtype).repeat(len(latents), 1) for name, value in told.items()}

    def read(self, prompts: Sequence[str]) -> Text:
        given, mask, _, _ = self.pipe.encode_prompt(list(prompts), False, num_images_per_prompt=1, device=self.device,
                                                    clean_caption=call_default(self.pipe, "clean_caption"))
        return Text(given, mask=mask)
