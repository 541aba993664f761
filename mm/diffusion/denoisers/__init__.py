"""Families of pipelines behind one call. One family a file."""
from typing import Any

from mm.diffusion.denoiser import Denoiser
from mm.diffusion.denoisers.flux import Flux
from mm.diffusion.denoisers.pixart import PixArt
from mm.diffusion.denoisers.sana import Sana
from mm.diffusion.denoisers.sd3 import SD3
from mm.diffusion.denoisers.stable_diffusion import StableDiffusion
from mm.diffusion.denoisers.stable_diffusion_xl import StableDiffusionXL

FAMILIES: tuple[type[Denoiser], ...] = (StableDiffusion, StableDiffusionXL, PixArt, Sana, SD3, Flux)


def denoiser(pipe: Any) -> Denoiser:
    """The pipeline behind one call; ValueError for one of no family that is known, which names those that are."""
    for family in FAMILIES:
        if family.matches(pipe):
            return family(pipe)
    network = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    found = "not found" if network is None else type(network).__name__
    raise ValueError(f"{type(pipe).__name__}: its denoiser is {found}; expected a text-to-image pipeline of "
                     f"{', '.join(family.names for family in FAMILIES)} (inpainting, editing and guidance-distilled UNets take other inputs). "
                     "Another one is a subclass of mm.diffusion.denoiser.Denoiser.")


__all__ = ["denoiser", "StableDiffusion", "StableDiffusionXL", "PixArt", "Sana", "SD3", "Flux"]
