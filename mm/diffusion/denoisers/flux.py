"""FLUX.1: Black Forest Labs, 2024; Labs et al., "FLUX.1 Kontext: Flow Matching for In-Context Image Generation and Editing in Latent Space", 2025."""
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mm.diffusion.compiled import uncompiled
from mm.diffusion.denoiser import Denoiser, shift
from mm.diffusion.text import Text


class Flux(Denoiser):
    """A transformer with joint attention over text and image tokens, 2 × 2 latents a token, and a pooled text; a flow.

    Latents are [B, C, h, w] here; the pipeline's loop holds them packed, [B, h w / 4, 4 C], which `native` makes.

    distilled_guidance: what a guidance-distilled model is told; the pipeline's `guidance_scale`. Inverting with 1 and editing with more is usual; an
    edit held to its trajectory (`Direct`) does not mind.
    """

    names = "Flux"

    def __init__(self, pipe: Any, distilled_guidance: float = 3.5) -> None:
        super().__init__(pipe)
        self.distilled_guidance = distilled_guidance

    @classmethod
    def matches(cls, pipe: Any) -> bool:
        from diffusers import FluxTransformer2DModel
        known = isinstance(uncompiled(getattr(pipe, "transformer", None)), FluxTransformer2DModel)
        return known and pipe.transformer.config.in_channels == 4 * pipe.vae.config.latent_channels

    @property
    def unit(self) -> int:
        return 2 * super().unit

    def __call__(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        if text.pooled is None:
            raise ValueError("Flux: the text has no pooled embedding, which the model reads; encode prompts with `text`.")
        (batch, channels, height, width), dtype = latents.shape, self.network.dtype
        places = torch.zeros(height // 2, width // 2, 3, device=latents.device, dtype=dtype)
        places[..., 1] = torch.arange(height // 2, device=latents.device)[:, None]
        places[..., 2] = torch.arange(width // 2, device=latents.device)
        guidance = torch.full([batch], self.distilled_guidance, device=latents.device) if self.network.config.guidance_embeds else None
        found = self.network(hidden_states=self.native(latents).to(dtype), timestep=timestep.expand(batch).to(dtype) / 1000, guidance=guidance,
                             pooled_projections=text.pooled.to(dtype), encoder_hidden_states=text.tokens.to(dtype), return_dict=False,
                             txt_ids=torch.zeros(text.tokens.shape[1], 3, device=latents.device, dtype=dtype), img_ids=places.flatten(0, 1))[0]
        squares = found.unflatten(1, (height // 2, width // 2)).unflatten(-1, (channels, 2, 2))
        return squares.permute(0, 3, 1, 4, 2, 5).reshape(latents.shape).to(latents.dtype)

    def native(self, latents: Tensor) -> Tensor:
        height, width = latents.shape[-2:]
        squares = latents.unflatten(-1, (width // 2, 2)).unflatten(-3, (height // 2, 2))  # [..., C, rows, 2, columns, 2]
        return squares.movedim((-4, -2, -5, -3, -1), (-5, -4, -3, -2, -1)).flatten(-3).flatten(-3, -2)

    def read(self, prompts: Sequence[str]) -> Text:
        given, pooled, _ = self.pipe.encode_prompt(list(prompts), None, device=self.device, num_images_per_prompt=1)
        return Text(given, pooled)

    def _shift(self, latents: Tensor) -> float | None:
        return shift(self.pipe.scheduler, (latents.shape[-2] // 2) * (latents.shape[-1] // 2))

    def _sigmas(self, steps: int) -> list[float]:
        return np.linspace(1.0, 1 / steps, steps).tolist()
