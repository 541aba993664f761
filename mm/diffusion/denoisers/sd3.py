"""Stable Diffusion 3: Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", ICML 2024."""
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mm.diffusion.compiled import uncompiled
from mm.diffusion.denoiser import Denoiser, shift
from mm.diffusion.text import Text


class SD3(Denoiser):
    """A transformer with joint attention over image and text tokens, and a pooled text; a flow."""

    names = "Stable Diffusion 3"

    @classmethod
    def matches(cls, pipe: Any) -> bool:
        from diffusers import SD3Transformer2DModel
        return isinstance(uncompiled(getattr(pipe, "transformer", None)), SD3Transformer2DModel)

    def __call__(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        if text.pooled is None:
            raise ValueError("SD3: the text has no pooled embedding, which the model reads; encode prompts with `text`.")
        dtype = self.network.dtype
        return self.network(hidden_states=latents.to(dtype), timestep=timestep.expand(len(latents)), encoder_hidden_states=text.tokens.to(dtype),
                            pooled_projections=text.pooled.to(dtype), return_dict=False)[0].to(latents.dtype)

    def read(self, prompts: Sequence[str]) -> Text:
        given, _, pooled, _ = self.pipe.encode_prompt(list(prompts), None, None, device=self.device, num_images_per_prompt=1,
                                                      do_classifier_free_guidance=False)
        return Text(given, pooled)

    def _shift(self, latents: Tensor) -> float | None:
        patch = self.network.config.patch_size
        return shift(self.pipe.scheduler, (latents.shape[-2] // patch) * (latents.shape[-1] // patch), 1.16)
