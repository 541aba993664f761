"""A picture as the model sees it."""
import numpy as np

from mm.models import VLM
from mm.vision.resize import Squash


def seen(vlm: VLM, picture: np.ndarray) -> np.ndarray:
    """What the grid of visual tokens covers, uint8 [H, W, 3]: the picture itself where the model is shown all of it and nothing else, whatever it
    does to its proportions; else the picture as it was padded or cut."""
    if isinstance(vlm.vision.resize, Squash):
        return picture
    return vlm.geometry.resize(picture[None], vlm.geometry.image_size)[0].permute(1, 2, 0).numpy()
