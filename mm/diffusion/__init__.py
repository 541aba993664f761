"""Control of diffusion models: levers on the text-to-image stream, on self-attention and on latents."""
from mm.diffusion.branches import Branches, Row
from mm.diffusion.control import Control, control
from mm.diffusion.edit import Edit, FeatureEdit, LatentEdit, SelfEdit, WordEdit
from mm.diffusion.edits.mutual import MutualSelfAttention
from mm.diffusion.edits.plug_and_play import PlugAndPlay
from mm.diffusion.edits.self_inject import SelfInject
from mm.diffusion.moment import Moment, Window
from mm.diffusion.observer import Observer, View
from mm.diffusion.pixel_maps import PixelMaps
from mm.diffusion.prompt import Prompt, Span
from mm.diffusion.recorder import Recorder, WordMaps, about_words, at_reduction
from mm.diffusion.site import Site

__all__ = ["control", "Control", "Branches", "Row", "Prompt", "Span", "Moment", "Window", "Site", "Edit", "WordEdit", "SelfEdit", "FeatureEdit",
           "LatentEdit", "SelfInject", "MutualSelfAttention", "PlugAndPlay", "Observer", "View", "Recorder", "WordMaps", "PixelMaps",
           "about_words", "at_reduction"]
