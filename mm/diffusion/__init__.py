"""Control of diffusion models: levers on the text-to-image stream, on self-attention and on latents. Names are imported when first used."""
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mm.diffusion.attend_and_excite import AttendAndExcite
    from mm.diffusion.branches import Branches, Row
    from mm.diffusion.codec import PatchCodec
    from mm.diffusion.control import Control
    from mm.diffusion.dynamic import DPL, LocInv
    from mm.diffusion.edit import Edit, FeatureEdit, LatentEdit, SelfEdit, WordEdit
    from mm.diffusion.editor import Edited, Editor
    from mm.diffusion.edits.local_blend import LocalBlend
    from mm.diffusion.edits.masked_blend import MaskedBlend
    from mm.diffusion.edits.mutual import MutualSelfAttention
    from mm.diffusion.edits.plug_and_play import PlugAndPlay
    from mm.diffusion.edits.refine import Refine
    from mm.diffusion.edits.replace import Replace
    from mm.diffusion.edits.rescale import Rescale
    from mm.diffusion.edits.self_inject import SelfInject
    from mm.diffusion.fresh import Fresh
    from mm.diffusion.lora import LoRA
    from mm.diffusion.moment import Moment, Window
    from mm.diffusion.objectives import Epsilon, Even, FlowMatching, MinSNR, VPrediction
    from mm.diffusion.observer import Observer, View
    from mm.diffusion.pixel_maps import PixelMaps
    from mm.diffusion.prompt import Prompt, Span
    from mm.diffusion.recipe import Recipe, read_recipe
    from mm.diffusion.recorder import Recorder, WordMaps, about_words, at_reduction
    from mm.diffusion.request import Request
    from mm.diffusion.site import Site
    from mm.diffusion.source import Pretrained
    from mm.diffusion.tokenise import tokenized, tokenized_by

__all__ = ["AttendAndExcite", "Branches", "Control", "DPL", "Edit", "Edited", "Editor", "Epsilon", "Even", "FeatureEdit", "FlowMatching",
           "Fresh", "LatentEdit", "LoRA", "LocInv", "LocalBlend", "MaskedBlend", "MinSNR", "Moment", "MutualSelfAttention", "Observer",
           "PatchCodec", "PixelMaps", "PlugAndPlay", "Pretrained", "Prompt", "Recipe", "Recorder", "Refine", "Replace", "Request", "Rescale",
           "Row", "SelfEdit", "SelfInject", "Site", "Span", "VPrediction", "View", "Window", "WordEdit", "WordMaps", "about_words",
           "at_reduction", "read_recipe", "tokenized", "tokenized_by"]

_HOMES = {
    "attend_and_excite": ("AttendAndExcite",),
    "branches": ("Branches", "Row"),
    "codec": ("PatchCodec",),
    "control": ("Control",),
    "dynamic": ("DPL", "LocInv"),
    "edit": ("Edit", "FeatureEdit", "LatentEdit", "SelfEdit", "WordEdit"),
    "editor": ("Edited", "Editor"),
    "edits.local_blend": ("LocalBlend",),
    "edits.masked_blend": ("MaskedBlend",),
    "edits.mutual": ("MutualSelfAttention",),
    "edits.plug_and_play": ("PlugAndPlay",),
    "edits.refine": ("Refine",),
    "edits.replace": ("Replace",),
    "edits.rescale": ("Rescale",),
    "edits.self_inject": ("SelfInject",),
    "fresh": ("Fresh",),
    "lora": ("LoRA",),
    "moment": ("Moment", "Window"),
    "objectives": ("Epsilon", "Even", "FlowMatching", "MinSNR", "VPrediction"),
    "observer": ("Observer", "View"),
    "pixel_maps": ("PixelMaps",),
    "prompt": ("Prompt", "Span"),
    "recipe": ("Recipe", "read_recipe"),
    "recorder": ("Recorder", "WordMaps", "about_words", "at_reduction"),
    "request": ("Request",),
    "site": ("Site",),
    "source": ("Pretrained",),
    "tokenise": ("tokenized", "tokenized_by"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mm.diffusion' has no attribute {name!r}; it offers {', '.join(__all__)} and its modules")
    return getattr(import_module(f"mm.diffusion.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
