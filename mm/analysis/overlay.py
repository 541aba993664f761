"""A map of attention over its picture, as people can read it: the picture stays recognisable where nothing looked and glows where something did."""
from collections.abc import Sequence

import numpy as np
from PIL import Image

# A perceptually ordered ramp from cold to hot (dark violet, magenta, orange, pale yellow), sampled at equal steps.
RAMP = np.array([(13, 8, 60), (84, 15, 109), (158, 40, 100), (214, 75, 64), (245, 125, 21), (250, 193, 39), (252, 255, 164)], dtype=np.float32)


def overlay(picture: np.ndarray, heat: np.ndarray, size: int = 384, opacity: float = 0.55, scale: tuple[float, float] | None = None) -> Image.Image:
    """The picture with the heat on it, its longer side at least `size` pixels.

    picture: uint8 [H, W, 3]. heat: attention on a grid that covers the picture evenly, float [rows, cols]; its highest place is drawn hottest,
    whatever its value, so state the mass beside it. Small pictures are enlarged by whole pixels and stay crisp; the heat is interpolated between
    the grid's places.
    opacity: of the hottest place. scale: values of the coldest and the hottest, the map's own if None; for maps to be compared. Raises ValueError for
    other shapes.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or heat.ndim != 2 or 0 in (*picture.shape, *heat.shape):
        raise ValueError("an overlay needs a picture uint8 [H, W, 3] and a heat [rows, cols]; "
                         f"got {picture.dtype} {list(picture.shape)} and {list(heat.shape)}")
    base = np.asarray(enlarged(picture, size), dtype=np.float32)
    level = interpolated(normalised(heat, scale), base.shape[:2])[..., None]
    grey = base.mean(-1, keepdims=True)
    muted = 0.6 * (0.5 * base + 0.5 * grey)  # where nothing looked: darker and paler, still the picture
    lit = muted + (base - muted) * np.minimum(1, 2 * level)
    glow = opacity * level**1.5
    return Image.fromarray((lit * (1 - glow) + colours(level[..., 0]) * glow).round().clip(0, 255).astype(np.uint8))


def side_by_side(panels: Sequence[Image.Image], gap: int = 8) -> Image.Image:
    """Panels from left to right on white, in the height of the first."""
    height = panels[0].height
    scaled = [panel if panel.height == height else panel.resize((round(panel.width * height / panel.height), height)) for panel in panels]
    strip = Image.new("RGB", (sum(panel.width for panel in scaled) + gap * (len(scaled) - 1), height), "white")
    left = 0
    for panel in scaled:
        strip.paste(panel, (left, 0))
        left += panel.width + gap
    return strip


def enlarged(picture: np.ndarray, size: int) -> Image.Image:
    """By a whole factor, so that the longer side reaches `size`; larger pictures as they are."""
    factor = max(1, -(-size // max(picture.shape[:2])))
    return Image.fromarray(picture).resize((picture.shape[1] * factor, picture.shape[0] * factor), Image.Resampling.NEAREST)


def normalised(heat: np.ndarray, scale: tuple[float, float] | None = None) -> np.ndarray:
    """float32 in [0, 1]: the highest place at 1, an even spread at 0 throughout."""
    heat = np.nan_to_num(np.asarray(heat, dtype=np.float32))
    low, high = scale or (float(heat.min()), float(heat.max()))
    return ((heat - low) / (high - low)).clip(0, 1) if high - low > 1e-12 else np.zeros_like(heat)


def interpolated(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear between the middles of the grid's places, float32 [H, W]."""
    return np.asarray(Image.fromarray(heat, mode="F").resize((size[1], size[0]), Image.Resampling.BILINEAR))


def colours(level: np.ndarray) -> np.ndarray:
    """Levels in [0, 1] as float32 RGB [..., 3] in grey levels."""
    at = np.clip(level, 0, 1) * (len(RAMP) - 1)
    low = np.minimum(at.astype(int), len(RAMP) - 2)
    part = (at - low)[..., None]
    return RAMP[low] * (1 - part) + RAMP[low + 1] * part
