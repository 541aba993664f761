"""Pictures of levers: who sees whom, where tokens are, how much attention falls on what, and where a rule moved it."""
from mm.analysis.levers.frames import frame_masks
from mm.analysis.levers.masks import mask_matrices
from mm.analysis.levers.masses import mass_bars
from mm.analysis.levers.moved import Places, moved
from mm.analysis.levers.positions import position_maps

__all__ = ["mask_matrices", "frame_masks", "position_maps", "mass_bars", "moved", "Places"]
