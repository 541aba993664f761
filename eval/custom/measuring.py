"""What is right in pictures that were drawn after a subject: read off in closed form, for the world knows its shapes and colours."""
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from data.world.recognise import recognise
from data.world.subjects import Subject
from eval.frame.intervals import Score, proportion

Draw = Callable[[Subject], Tensor]  # → [3, H, W] in about [-1, 1]


def measured(subjects: Sequence[Subject], draw: Draw) -> dict[str, Score]:
    """colour: share of pictures in which an object of the subject's shape has the reference's colour. other: in which the caption's other object is
    there, shape and colour."""
    right = {"colour": 0, "other": 0}
    for subject in subjects:
        found = {(each.shape, each.colour) for each in recognise(picture(draw(subject)), 2)}
        right["colour"] += subject.thing.pair in found
        right["other"] += subject.scene.objects[1 - subject.index].pair in found
    return {name: proportion(hits, len(subjects)) for name, hits in right.items()}


def picture(drawn: Tensor) -> np.ndarray:
    """uint8 [H, W, 3]."""
    return ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
