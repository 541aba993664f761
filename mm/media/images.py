"""One picture file in, one upright RGB array out, whatever the file holds, in bounded memory.

What is done to a picture, so that two readers agree on its pixels:
* the EXIF orientation (all eight) is applied, an unreadable one ignored; ICC profiles are ignored;
* transparency is laid on white; palettes are resolved; of an animation the first frame is taken;
* 16-bit grey is scaled to 8 bits (65535 becomes 255) instead of clipped; of 16-bit colour the upper byte is taken;
* CMYK becomes RGB as (255 - C)(255 - K) / 255; a JPEG with Adobe's marker holds inverted CMYK, one without does not;
* what is longer than `max_side` is reduced to it: a baseline JPEG while it is decoded, so that its full size never exists.
"""
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

from mm.media.errors import BrokenMedia, existing

Image.init()
# Only formats that are decoded in this process (EPS, for one, would start another program), as far as this build of the library has them.
FORMATS = tuple(format for format in ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000") if format in Image.OPEN)
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 274  # the EXIF tag

# Limits.max_pixels is the stricter guard against decompression bombs, and an error instead of a warning.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Limits:
    """What is accepted, and how large it comes out.

    min_side: a shorter picture is refused, also when only the reduction to `max_side` makes it so. max_side: a longer one is reduced.
    max_pixels: more are refused before they are decoded; decoding takes up to 16 bytes each, hence about 540 MB by default.
    max_frames: of one clip.
    """

    min_side: int = 8
    max_side: int = 2048
    max_pixels: int = 2**25
    max_frames: int = 512

    def __post_init__(self) -> None:
        if not 0 < self.min_side <= self.max_side or self.max_pixels < 1 or self.max_frames < 1:
            raise ValueError(f"{self}: 0 < min_side <= max_side, max_pixels > 0 and max_frames > 0 are expected.")


def load_image(source: str | Path | bytes, limits: Limits | None = None, name: str = "the picture") -> np.ndarray:
    """uint8 [H, W, 3], RGB, upright. source: a file, or the content of one, which errors then call `name`. Raises BrokenMedia."""
    limits = limits or Limits()
    if not isinstance(source, bytes):
        source, name = existing(source), str(source)
    elif not source:
        raise BrokenMedia(f"{name} is empty (0 bytes); write it again, or leave it out.")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            admit(image, limits, name)
            image.load()
            turn = UPRIGHT.get(orientation(image))
            picture = fit(rgb(image, name), limits)
        return np.array(picture.transpose(turn) if turn is not None else picture)
    except (BrokenMedia, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise BrokenMedia(f"{name}: {error} Make it smaller.") from error
    except Image.UnidentifiedImageError as error:
        raise BrokenMedia(f"{name} is not a picture in a known format ({', '.join(FORMATS)}), or is damaged at its start; convert it.") from error
    except Exception as error:  # decoders of damaged files raise almost anything: OSError, SyntaxError, struct.error, EOFError ...
        if isinstance(error, OSError) and error.errno:
            raise BrokenMedia(f"{name} cannot be read: {error.strerror}.") from error
        raise BrokenMedia(f"{name} is damaged: {error or type(error).__name__}. Copy or download it again, or leave it out.") from error


def admit(image: Image.Image, limits: Limits, name: str) -> None:
    """Refuse sizes outside the limits before anything is decoded; let a large baseline JPEG decode at 1/2, 1/4 or 1/8."""
    width, height = image.size
    scale = min(1.0, limits.max_side / max(width, height))
    if min(width, height) * scale < limits.min_side:
        raise BrokenMedia(
            f"{name}: {width} x {height} pixels" + (f", reduced to max_side {limits.max_side}," if scale < 1 else "") +
            f" are less than the min_side of {limits.min_side}; crop or leave it out, or lower min_side.")
    if scale < 1 and not image.info.get("progressive"):  # a progressive one is held whole by its decoder, at whatever scale it comes out
        image.draft(None, (round(width * scale), round(height * scale)))
    pixels = image.width * image.height
    if pixels > limits.max_pixels:
        raise BrokenMedia(
            f"{name}: {width} x {height} = {width * height / 1e6:.1f} million pixels, more than the max_pixels of {limits.max_pixels / 1e6:.1f} "
            f"million that are decoded at once (it would take about {pixels * 16 / 2**30:.1f} GiB); make it smaller, save it as baseline JPEG, "
            "or raise max_pixels.")


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it cannot be read. After load(): TIFF turns itself and removes the tag."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF blocks raise almost anything and say nothing about the pixels
        return 1


def rgb(image: Image.Image, name: str) -> Image.Image:
    """A loaded picture of any mode as RGB."""
    if image.mode.startswith("I"):
        return Image.fromarray(eight_bits(np.asarray(image), name)).convert("RGB")
    if image.mode == "F":
        raise BrokenMedia(f"{name} holds floating-point pixels, whose white is not defined; save it with 8 or 16 bits.")
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        image = ImageChops.invert(image)  # the decoder takes every CMYK JPEG for an inverted one
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def eight_bits(grey: np.ndarray, name: str) -> np.ndarray:
    """16-bit grey as uint8, rounded. 32-bit integers are accepted where they hold 16-bit values, as a reader of PGM hands them on."""
    if grey.dtype != np.uint16 and (grey.min() < 0 or grey.max() > 65535):
        raise BrokenMedia(f"{name} holds grey values from {grey.min()} to {grey.max()}, expected 0 to 65535; save it with 8 or 16 bits.")
    return ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)


def fit(picture: Image.Image, limits: Limits) -> Image.Image:
    """The picture with its longer side reduced to max_side; itself where it fits."""
    scale = limits.max_side / max(picture.size)
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
