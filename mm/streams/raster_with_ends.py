"""Places of rasters with tokens between them that mark where a row, a frame or a medium ends."""
import numpy as np

from mm.streams.base import Grid


class RasterWithEnds:
    """Each frame's tokens on `grid`, row by row, and so many more behind each row, each frame and the whole medium.

    Those have no place in the picture: row and column -1, as newline tokens of pretrained models have them, and no frame either behind the medium.
    """

    def __init__(self, grid: Grid, row: int = 0, frame: int = 0, medium: int = 0) -> None:
        self.grid, self.row, self.frame, self.medium = grid, row, frame, medium

    def __call__(self, frames: int) -> np.ndarray:
        raster = np.pad(np.indices(self.grid), ((0, 0), (0, 0), (0, self.row)), constant_values=-1).reshape(2, -1)
        one = np.pad(raster, ((0, 0), (0, self.frame)), constant_values=-1)
        all_frames = np.concatenate([np.repeat(np.arange(frames), one.shape[1])[None], np.tile(one, frames)])
        return np.pad(all_frames, ((0, 0), (0, self.medium)), constant_values=-1)
