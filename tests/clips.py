"""Small clips without loss, made with the library that reads them."""
from pathlib import Path

import av
import numpy as np


def moving_square(frames: int, height: int = 32, width: int = 48) -> np.ndarray:
    """uint8 [T, H, W, 3]: a red square that moves to the right; frame t has the blue level 10 t everywhere else."""
    clip = np.zeros((frames, height, width, 3), np.uint8)
    for t, picture in enumerate(clip):
        picture[..., 2] = 10 * t
        picture[4:12, 2 + 2 * t:10 + 2 * t] = (255, 0, 0)
    return clip


def write_clip(file: Path, frames: np.ndarray, rotation: int = 0, codec: str = "libx264rgb") -> None:
    """A clip of 10 frames a second, with the note that it is to be turned by `rotation` degrees counterclockwise."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"qp": "0"} if codec == "libx264rgb" else {})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "bgr0"
        if rotation:
            stream.set_display_rotation(rotation)
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
