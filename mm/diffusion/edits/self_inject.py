"""Self-attention injection of Hertz et al., "Prompt-to-Prompt Image Editing with Cross-Attention Control", ICLR 2023: layout from the source.

The map among pixels becomes the source's, `A_e <- A_0`, which is the source's queries and keys over the edited row's own values.
"""
from dataclasses import dataclass
from math import ceil

from mm.diffusion.edit import Role, SelfEdit
from mm.diffusion.gates import Bounds, window
from mm.diffusion.moment import Moment, Window
from mm.diffusion.site import Site

GENERATED = 1 / 4
PHOTO = 1 / 2


@dataclass(frozen=True)
class SelfInject(SelfEdit):
    """window: share of the run that it lasts, or its start and stop: steps int(start T) <= i < int(stop T). side: the finest attention it acts in, as
    a share of the latents' height: `GENERATED` is 16 x 16 of 64 x 64, as the paper's notebook has it for generated pictures, `PHOTO` its 32 x 32 for
    real ones, and 1 is everywhere, which transformers of one resolution (patches of 2: 1/2) need.
    """

    window: Window | Bounds = 0.4
    side: float = GENERATED

    def __post_init__(self) -> None:
        window(self.window)  # ValueError for what is none
        if not 0 < self.side <= 1:
            raise ValueError(f"side is a share of the latents' height in (0, 1]; got {self.side}")

    def takes(self, site: Site, moment: Moment) -> frozenset[Role]:
        height, width = (ceil(self.side * side) for side in site.latent)  # as halving rounds odd sides up
        fits = site.pixels <= height * width
        return frozenset({"q", "k"}) if fits and window(self.window).holds(moment) else frozenset()
