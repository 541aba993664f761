"""A picture file as pixels, and a picture as the model sees it."""
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mm.models import VLM
from mm.vision.resize import Squash

MAX_PIXELS = 2**26  # larger ones are refused before they are decoded


def read_picture(path: str | Path) -> np.ndarray:
    """uint8 [H, W, 3], RGB, upright as EXIF says, transparency on white, the first frame of an animation.

    Raises ValueError for a file that is missing, no picture, damaged, or of more than 64 million pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give the path of a picture")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{path} has {image.width} x {image.height} pixels, more than the {MAX_PIXELS // 10**6} million that are read; "
                                 "make it smaller")
            image.draft("RGB", (2048, 2048))  # a large JPEG is then decoded at a fraction of its size
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
            return np.array(upright.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not a picture in a format that is known here; convert it to PNG or JPEG") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def seen(vlm: VLM, picture: np.ndarray) -> np.ndarray:
    """What the grid of visual tokens covers, uint8 [H, W, 3]: the picture itself where the model is shown all of it and nothing else, whatever it
    does to its proportions; else the picture as it was padded or cut."""
    if isinstance(vlm.vision.resize, Squash):
        return picture
    return vlm.geometry.resize(picture[None], vlm.geometry.image_size)[0].permute(1, 2, 0).numpy()
