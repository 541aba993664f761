"""From a picture to the noise that it would have come from."""
from mm.diffusion.inversion.base import Inversion, reconstruct
from mm.diffusion.inversion.ddim import DDIM
from mm.diffusion.inversion.direct import Direct
from mm.diffusion.inversion.edit_friendly import EditFriendly
from mm.diffusion.inversion.negative_prompt import NegativePrompt
from mm.diffusion.inversion.null_text import NullText
from mm.diffusion.inversion.trajectory import Trajectory

__all__ = ["Inversion", "Trajectory", "DDIM", "Direct", "NegativePrompt", "NullText", "EditFriendly", "reconstruct"]
