"""Words that are learned anew at every step of a picture's trajectory, so that each looks at its object."""
from mm.diffusion.dynamic.attention_reader import AttentionReader
from mm.diffusion.dynamic.by_step import by_step
from mm.diffusion.dynamic.dpl import DPL
from mm.diffusion.dynamic.following import AlongNullText, Following, Held
from mm.diffusion.dynamic.learned import Learned
from mm.diffusion.dynamic.learning import Goal, Learning, Scene
from mm.diffusion.dynamic.locinv import LocInv
from mm.diffusion.dynamic.of_pipe import scene
from mm.diffusion.dynamic.reader import Reader
from mm.diffusion.dynamic.regions import Regions
from mm.diffusion.dynamic.tokens import DynamicTokens
from mm.diffusion.dynamic.wording import Wording

__all__ = ["DPL", "LocInv", "Learning", "Scene", "scene", "by_step", "Goal", "Learned", "Wording", "DynamicTokens", "Reader", "AttentionReader",
           "Regions", "Following", "AlongNullText", "Held"]
