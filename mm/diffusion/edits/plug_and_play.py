"""Plug-and-Play: Tumanyan et al., "Plug-and-Play Diffusion Features for Text-Driven Image-to-Image Translation", CVPR 2023.

Edited rows take the source's features of one residual block of the decoder, and its queries and keys in the decoder's self-attention.
"""
from dataclasses import dataclass, field

from mm.diffusion.branches import Negatives
from mm.diffusion.edit import FeatureEdit, Role, SelfEdit
from mm.diffusion.moment import Moment, Window
from mm.diffusion.site import Site


@dataclass(frozen=True)
class PlugAndPlay(SelfEdit, FeatureEdit):
    """features, attention: windows of the two injections. block: whose output is taken, by its name in the denoiser; the default is the paper's
    decoder layer 4 of SD-1.x. layer: first self-attention of the decoder that is injected, counted within it; from 1 in SD-1.x are the paper's
    layers 4 to 11. negatives: "source" as in the original, which injects into both halves. Defaults as in the paper's code, which was read and not
    run.
    """

    features: Window = field(default=Window(0.0, 0.8))
    attention: Window = field(default=Window(0.0, 0.5))
    block: str = "up_blocks.1.resnets.1"
    layer: int = 1
    negatives: Negatives = "source"

    def takes(self, site: Site, moment: Moment) -> frozenset[Role]:
        acts = site.place in ("up", "block") and site.layer >= self.layer and self.attention.holds(moment)
        return frozenset({"q", "k"}) if acts else frozenset()

    def acts_on(self, module: str) -> bool:
        return module == self.block

    def injects(self, module: str, moment: Moment) -> bool:
        return self.features.holds(moment)
