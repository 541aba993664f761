"""One call for the denoisers of text-to-image pipelines: what their captions become, and in which arguments each of them wants it."""
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mm.diffusion.codec import Certain
from mm.diffusion.source import Pipeline

Condition = Mapping[str, Any]


class Denoising(ABC):
    """A pipeline of diffusers as something that learns: captions → condition, pictures → latents, noisy latents → prediction.

    part: the attribute of the pipeline that denoises. pipelines: names of the classes that it is of. Gradients reach every text encoder that wants
    them.
    """

    part: str
    pipelines: tuple[str, ...]

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    @property
    def denoiser(self) -> nn.Module:
        return getattr(self.pipeline, self.part)

    @property
    def side(self) -> int:
        """Of the pictures that the denoiser was made for, in px."""
        halvings = len(self.pipeline.vae.config["block_out_channels"]) - 1
        return int(self.denoiser.config["sample_size"]) * 2**halvings  # type: ignore[index]

    @abstractmethod
    def condition(self, captions: Sequence[str], device: torch.device) -> Condition:
        """Keyword arguments of the denoiser for B captions."""

    def predict(self, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """[B, C, h, w] noisy latents at [B] timesteps → the prediction, of the same shape; learned variances are left out."""
        out = self.denoiser(noisy, timestep=timesteps, return_dict=False, **condition)[0]
        return out[:, :noisy.shape[1]]

    def latents(self, pictures: Tensor, draw: Callable[[torch.Size], Tensor]) -> Tensor:
        """[B, 3, H, W] in [−1, 1] → scaled latents [B, C, h, w]; without gradient. draw: standard normal [C, h, w] a picture, [B, C, h, w], for an
        autoencoder whose codes are distributions."""
        vae = self.pipeline.vae
        with torch.no_grad():
            code = vae.encode(pictures.to(vae.dtype)).latent_dist
            value = code.mean if isinstance(code, Certain) else code.mean + code.std * draw(code.mean.shape[1:]).to(code.mean)
        return (value.float() - (vae.config.get("shift_factor") or 0.0)) * vae.config["scaling_factor"]


class UNet(Denoising):
    """Stable Diffusion 1.x and 2.x: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022."""

    part, pipelines = "unet", ("StableDiffusionPipeline",)

    def condition(self, captions: Sequence[str], device: torch.device) -> Condition:
        hidden, _ = self.pipeline.encode_prompt(list(captions), device, 1, False)
        return {"encoder_hidden_states": hidden}


class PixArt(Denoising):
    """Cross-attention transformer: Chen et al., "PixArt-α", ICLR 2024. Sizes and aspect ratios are not told to it, as in its 512 px models."""

    part, pipelines = "transformer", ("PixArtAlphaPipeline", "PixArtSigmaPipeline")

    def condition(self, captions: Sequence[str], device: torch.device) -> Condition:
        hidden, mask, _, _ = self.pipeline.encode_prompt(list(captions), False, device=device)
        return {"encoder_hidden_states": hidden, "encoder_attention_mask": mask, "added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}


class SD3(Denoising):
    """Joint-attention transformer: Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", ICML 2024."""

    part, pipelines = "transformer", ("StableDiffusion3Pipeline",)

    def condition(self, captions: Sequence[str], device: torch.device) -> Condition:
        words = list(captions)
        hidden, _, pooled, _ = self.pipeline.encode_prompt(words, words, words, device=device, do_classifier_free_guidance=False)
        return {"encoder_hidden_states": hidden, "pooled_projections": pooled}


FAMILIES: tuple[type[Denoising], ...] = (UNet, PixArt, SD3)


def denoising(pipeline: Pipeline) -> Denoising:
    """ValueError for a pipeline that is not trained here, and for a PixArt that is told sizes."""
    name = type(pipeline).__name__
    family = next((family for family in FAMILIES if name in family.pipelines), None)
    if family is None:
        raise ValueError(f"{name} is not among the pipelines that are trained: {', '.join(known for each in FAMILIES for known in each.pipelines)}.")
    if getattr(getattr(pipeline, family.part), "use_additional_conditions", False):
        raise ValueError(f"this {name} is told size and aspect ratio (use_additional_conditions), which training does not do; use a 512 px model.")
    return family(pipeline)
