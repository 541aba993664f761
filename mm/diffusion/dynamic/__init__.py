"""Words that are learned anew at every step of a picture's trajectory, so that each looks at its object."""
from mm.diffusion.dynamic.dpl import DPL
from mm.diffusion.dynamic.following import AlongNullText, Following, Held
from mm.diffusion.dynamic.learned import Learned
from mm.diffusion.dynamic.learning import Goal, Learning, Scene
from mm.diffusion.dynamic.locinv import LocInv
from mm.diffusion.dynamic.reader import Reader
from mm.diffusion.dynamic.regions import Regions
from mm.diffusion.dynamic.tokens import DynamicTokens
from mm.diffusion.dynamic.wording import Wording

__all__ = ["DPL", "LocInv", "Learning", "Scene", "Goal", "Learned", "Wording", "DynamicTokens", "Reader", "Regions", "Following", "AlongNullText",
           "Held"]
