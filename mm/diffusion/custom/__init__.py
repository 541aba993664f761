"""Customisation of a word with a picture: RealCustom and RealCustom++."""
from mm.diffusion.custom.customiser import Customiser
from mm.diffusion.custom.guidance_mask import AdaptiveMask
from mm.diffusion.custom.projector import SubjectProjector
from mm.diffusion.custom.realcustom import Customised, RealCustom
from mm.diffusion.custom.scoring import RelevanceScorer, Scorer
from mm.diffusion.custom.spread import Spread
from mm.diffusion.custom.stream import Shown, VisualStream
from mm.diffusion.custom.views import SubjectEncoder, Views

__all__ = ["AdaptiveMask", "Customised", "Customiser", "RealCustom", "RelevanceScorer", "Scorer", "Shown", "Spread", "SubjectEncoder",
           "SubjectProjector", "Views", "VisualStream"]
