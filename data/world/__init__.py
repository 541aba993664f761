"""The embedded world: coloured shapes on textured backgrounds with complete ground truth, made on the fly from a seed.

`Scenes` for captions and questions, `Episodes` for learning in context, `Clips` for order in time, `Edits` for before and after.
"""
from data.world.dataset import Scenes
from data.world.mix import Mix
from data.world.sampling import World
from data.world.scene import Scene, SceneObject

__all__ = ["Scenes", "Mix", "World", "Scene", "SceneObject"]
