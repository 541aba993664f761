"""Customisation of a word with a picture: RealCustom and RealCustom++."""
from mm.diffusion.custom.guidance_mask import AdaptiveMask
from mm.diffusion.custom.spread import Spread
from mm.diffusion.custom.stream import Shown, VisualStream

__all__ = ["AdaptiveMask", "Shown", "Spread", "VisualStream"]
