"""Sana: Xie et al., "SANA: Efficient High-Resolution Image Synthesis with Linear Diffusion Transformers", ICLR 2025."""
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mm.diffusion.compiled import uncompiled
from mm.diffusion.denoiser import Denoiser, call_default
from mm.diffusion.text import Text


class Sana(Denoiser):
    """A transformer with linear self-attention and cross-attention to the tokens of a language model, whose padding is hidden. Prompts stand behind
    the pipeline's instruction, negative ones alone, as in its own call."""

    names = "Sana"

    @classmethod
    def matches(cls, pipe: Any) -> bool:
        from diffusers import SanaTransformer2DModel
        known = isinstance(uncompiled(getattr(pipe, "transformer", None)), SanaTransformer2DModel)
        return known and not pipe.transformer.config.get("guidance_embeds")

    def __call__(self, latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
        dtype = self.network.dtype
        timestep = timestep.expand(len(latents)) * self.network.config.timestep_scale
        found = self.network(latents.to(dtype), encoder_hidden_states=text.tokens.to(dtype), encoder_attention_mask=text.mask, timestep=timestep,
                             return_dict=False)[0]
        return found[:, :latents.shape[1]].to(latents.dtype)

    def read(self, prompts: Sequence[str]) -> Text:
        return self._read(prompts, call_default(self.pipe, "complex_human_instruction"))

    def against(self, negatives: Sequence[str]) -> Text:
        return self._read(negatives, None)

    def _read(self, prompts: Sequence[str], instruction: list[str] | None) -> Text:
        given, mask, _, _ = self.pipe.encode_prompt(list(prompts), False, num_images_per_prompt=1, device=self.device,
                                                    clean_caption=call_default(self.pipe, "clean_caption"), complex_human_instruction=instruction)
        return Text(given, mask=mask)
