"""MasaCtrl: Cao et al., "MasaCtrl: Tuning-Free Mutual Self-Attention Control for Consistent Image Synthesis and Editing", ICCV 2023.

Edited rows ask with their own queries and read the source's keys and values: content of the source in the target's layout.
"""
from dataclasses import dataclass

from mm.diffusion.branches import Negatives
from mm.diffusion.edit import Role, SelfEdit
from mm.diffusion.moment import Moment
from mm.diffusion.site import Site


@dataclass(frozen=True)
class MutualSelfAttention(SelfEdit):
    """start: first step, counted, as in the paper's code for 50 of them. layer: first self-attention in order of execution; 10 of SD-1.x's 16 is
    where its decoder's finer half begins. negatives: "own" as in the original, whose halves of guidance read each its own half of the source.
    """

    start: int = 4
    layer: int = 10
    negatives: Negatives = "own"

    def takes(self, site: Site, moment: Moment) -> frozenset[Role]:
        return frozenset({"k", "v"}) if moment.step >= self.start and site.index >= self.layer else frozenset()
