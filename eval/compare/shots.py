"""What was asked about, small enough to embed: a picture, or up to four of several pictures or frames."""
import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mm.analysis import side_by_side
from mm.analysis.overlay import enlarged
from mm.sample import Media

SIZE = 176  # px of the longer side
FRAMES = 4


def shot(media: Sequence[Media]) -> str:
    """A data URI. ValueError where there is nothing to see."""
    frames = [frame for medium in media for frame in medium.frames]
    if not frames:
        raise ValueError("it was asked without one")
    if len(frames) == 1:
        return embedded(Image.fromarray(small(frames[0])))
    places = np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).round().astype(int)
    return embedded(side_by_side([Image.fromarray(small(frames[place], SIZE * 2 // 3)) for place in places], gap=3))


def small(frame: np.ndarray, size: int = SIZE) -> np.ndarray:
    """A picture [H, W, 3] of about `size` on its longer side: small ones by whole pixels larger, so that they stay crisp."""
    image = enlarged(frame, size // 2)
    image.thumbnail((size, size))
    return np.asarray(image)


def embedded(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
