"""Pictures of the world for recognising attributes: one object a picture, its shape and its colour are asked."""
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.world import Scenes, World, render
from data.world.splits import Name
from data.world.vocabulary import COLOURS, SHAPES

# One object; neither background nor typical colours tell anything about it.
SINGLE = World(contexts=(0.25, 0.25, 0.25, 0.25), home=0.0, typical=0.0, objects=(1, 1), visibility=(0.5, 1.0))


@dataclass(frozen=True)
class Pictures:
    """pixels: uint8 [n, 3, 64, 64]. labels: int64 [n, 2], index of shape and colour of the first object."""

    pixels: Tensor
    labels: Tensor


def pictures(split: Name, size: int, seed: int, world: World) -> Pictures:
    """The first `size` pictures of the split; the training split never shows a quarter of the pairs of shape and colour, the others show all."""
    scenes = Scenes(split, size, seed, world=world)
    drawn = [scenes.scene(index) for index in range(size)]
    pixels = np.stack([render(scene) for scene in drawn])
    labels = [(SHAPES.index(scene.objects[0].shape), COLOURS.index(scene.objects[0].colour)) for scene in drawn]
    return Pictures(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels))
