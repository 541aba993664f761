"""A scene as pixels, in a fifth of a millisecond: texture, shapes, noise; nothing that the scene does not say."""
from functools import cache
from statistics import NormalDist

import numpy as np

from data.world.scene import CANVAS, CELL, Background, Scene, SceneObject
from data.world.shapes import mask
from data.world.vocabulary import COLOURS, RGB

BASE = ((90, 110, 80), (110, 95, 80), (75, 90, 115), (105, 85, 105))
TEXTURE = 14  # grey levels
INK = {colour: np.array(rgb, np.float32)[:, None, None] for colour, rgb in zip(COLOURS, RGB, strict=True)}

_AXIS = np.arange(CANVAS, dtype=np.float32)
_RADIUS = np.hypot(_AXIS[:, None] - (CANVAS - 1) / 2, _AXIS[None, :] - (CANVAS - 1) / 2).astype(np.float32)
_DIAGONAL = _AXIS[:, None] + _AXIS[None, :]


def render(scene: Scene, objects: bool = True) -> np.ndarray:
    """uint8 [64, 64, 3]. objects: False erases them and keeps background and noise, which shows what the context alone gives away."""
    pixels = paint_background(scene.background)
    for thing in scene.objects if objects else ():
        paint(pixels, thing)
    return develop(pixels, scene.grain, scene.noise)


def blank_image() -> np.ndarray:
    """uint8 [64, 64, 3], black: what a blind baseline is shown."""
    return np.zeros((CANVAS, CANVAS, 3), np.uint8)


def object_mask(thing: SceneObject) -> np.ndarray:
    """Coverage of each pixel by the object (not by its visibility), float32 [64, 64] in [0, 1]."""
    covered = np.zeros((CANVAS, CANVAS), np.float32)
    rows, cols, part = window(thing)
    covered[rows, cols] = mask(thing.shape, thing.size)[part]
    return covered


def paint_background(background: Background) -> np.ndarray:
    """float32 [3, 64, 64] in grey levels. Planes, not pixels: numpy's inner loop is then 64 long rather than 3."""
    f, p = np.float32(background.frequency), np.float32(background.phase)
    if background.context == 0:
        texture = np.broadcast_to(np.sin(f * _AXIS + p), (CANVAS, CANVAS))
    elif background.context == 1:
        wave = np.sin(f * _AXIS + p)
        texture = wave[:, None] * wave[None, :]
    elif background.context == 2:
        texture = np.sin(f * _DIAGONAL + p)
    else:
        texture = np.sin(f * _RADIUS + p)
    base = np.array(BASE[background.context], np.float32) + np.array(background.tint, np.float32)
    return base[:, None, None] + np.float32(TEXTURE) * texture


def paint(pixels: np.ndarray, thing: SceneObject) -> None:
    """Blend the object into planes [3, 64, 64] in place: (1 − αm)·background + αm·colour."""
    rows, cols, part = window(thing)
    below = pixels[:, rows, cols]
    below += np.float32(thing.visibility) * mask(thing.shape, thing.size)[part] * (INK[thing.colour] - below)


def window(thing: SceneObject) -> tuple[slice, slice, tuple[slice, slice]]:
    """Rows and columns of the canvas that the object's mask covers, and the part of the mask that falls on them."""
    top, left = thing.row * CELL + thing.shift[0], thing.col * CELL + thing.shift[1]
    rows, cols = slice(max(top, 0), min(top + CELL, CANVAS)), slice(max(left, 0), min(left + CELL, CANVAS))
    return rows, cols, (slice(rows.start - top, rows.stop - top), slice(cols.start - left, cols.stop - left))


def develop(pixels: np.ndarray, grain: float, noise: int) -> np.ndarray:
    """Planes [..., 3, H, W] in grey levels → uint8 [..., H, W, 3], with normal pixel noise of deviation `grain` from seed `noise`."""
    field = noise_field(pixels.shape, noise)
    field *= np.float32(grain)
    field += pixels
    field += np.float32(0.5)  # the cast below truncates
    np.clip(field, 0, 255, out=field)
    image = np.empty((*pixels.shape[:-3], *pixels.shape[-2:], 3), np.uint8)
    for channel in range(3):  # several times faster than moving the axis
        image[..., channel] = field[..., channel, :, :]
    return image


def noise_field(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Standard normal float32 of the shape, by table from the bits of the seed's stream: a quarter of the cost of numpy's normal numbers."""
    count = int(np.prod(shape))
    bits = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.uint16)[:count] >> 4
    return quantiles().take(bits).reshape(shape)


@cache
def quantiles() -> np.ndarray:
    """4096 equally likely values of the standard normal, with variance one."""
    normal = NormalDist()
    values = np.array([normal.inv_cdf((k + 0.5) / 4096) for k in range(4096)])
    return (values / values.std()).astype(np.float32)
