"""Classifier-free guidance: Ho and Salimans, "Classifier-Free Diffusion Guidance", NeurIPS 2021 workshop."""
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from mm.diffusion.text import Text, beside

Model: TypeAlias = Callable[[Tensor, Tensor, Text], Tensor]
"""(latents [B, ...], timestep scalar or [B], B prompts) → prediction in the shape of the latents. A `Denoiser` is one."""


def guided(model: Model, z: Tensor, timestep: Tensor, text: Text, negative: Text | None, guidance: float) -> Tensor:
    """Prediction u + guidance (c - u) for latents z [B, ...], u of `negative` and c of `text`; plain c for guidance 1 or without `negative`.

    Both halves go through the model in one batch, `negative` first, unless the prompts differ in length. Of pipelines' variants (guidance rescale,
    Qwen-Image's norm) it does none.
    """
    if negative is None or guidance == 1:
        return model(z, timestep, text)
    if not text.fits(negative):
        without, given = model(z, timestep, negative), model(z, timestep, text)
    else:
        without, given = model(torch.cat([z, z]), timestep.repeat(2) if timestep.ndim else timestep, beside(negative, text)).chunk(2)
    return without + guidance * (given - without)
