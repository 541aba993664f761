"""The twelve shapes as implicit functions, and their masks, 4 × supersampled and computed once."""
from collections.abc import Callable
from functools import cache

import numpy as np

from data.world.scene import CELL, RADII
from data.world.vocabulary import SHAPES

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]
SUPER = 4  # samples a pixel and axis

# Each takes x (right) and y (down) in units of the radius and says what lies inside.
INSIDE: dict[str, Field] = {
    "circle": lambda x, y: np.hypot(x, y) <= 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) <= 0.88,
    "triangle": lambda x, y: (y <= 0.8) & (abs(x) <= 0.55 * (y + 1)),
    "star": lambda x, y: _star(x, y),
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) <= 0.32) & (np.maximum(abs(x), abs(y)) <= 1),
    "ring": lambda x, y: (np.hypot(x, y) <= 1) & (np.hypot(x, y) >= 0.55),
    "heart": lambda x, y: _heart(1.2 * x, 0.15 - 1.2 * y),
    "diamond": lambda x, y: abs(x) / 0.75 + abs(y) <= 1,
    "moon": lambda x, y: (np.hypot(x, y) <= 1) & (np.hypot(x - 0.5, y + 0.1) > 0.85),
    "arrow": lambda x, y: ((abs(y) <= 0.28) & (x >= -1) & (x <= 0.1)) | ((x >= 0) & (abs(y) <= 0.95 * (1 - x))),
    "hexagon": lambda x, y: np.maximum(abs(y), abs(x) * 0.866 + abs(y) / 2) <= 0.866,
    "bar": lambda x, y: (abs(x) <= 1) & (abs(y) <= 0.3),
}


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five points, one up: below the straight edge from a tip (radius 1) to the next notch (radius 0.42), the plane folded onto one such edge."""
    angle = abs((np.arctan2(x, -y) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)  # 0 at a tip, π/5 at a notch
    radius, notch = np.hypot(x, y), 0.42
    u, v = radius * np.cos(angle), radius * np.sin(angle)
    du, dv = notch * np.cos(np.pi / 5) - 1, notch * np.sin(np.pi / 5)
    return du * v - dv * (u - 1) >= 0


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * x + y * y - 1) ** 3 - x * x * y**3 <= 0


@cache
def mask(shape: str, size: int) -> np.ndarray:
    """Coverage of each pixel of a cell, float32 [16, 16] in [0, 1]; read-only. size: index into `RADII`."""
    places = ((np.arange(CELL * SUPER) + 0.5) / SUPER - CELL / 2) / RADII[size]
    inside = INSIDE[shape](places[None, :], places[:, None])
    coverage = inside.reshape(CELL, SUPER, CELL, SUPER).mean((1, 3), dtype=np.float32)
    coverage.flags.writeable = False
    return coverage


def all_masks() -> np.ndarray:
    """float32 [12, 3, 16, 16]: shape, size, row, column."""
    return np.stack([np.stack([mask(shape, size) for size in range(len(RADII))]) for shape in SHAPES])
