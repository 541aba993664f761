"""A clip as a folder of numbered pictures (00001.jpg, 00002.jpg, ...), as MVBench has some: Li et al., CVPR 2024."""
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mm.media.errors import BrokenMedia
from mm.media.images import Limits, load_image
from mm.media.sampling import Timeline

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif", ".jp2"})
NUMBER = re.compile(r"\d+(?!.*\d)")  # the last one in a name


class FrameFolder:
    """The pictures in a folder in the order of the last number in their names, whose step must be the same throughout; other files are ignored.

    fps: of the pictures. A folder does not tell it, and without it nothing is known about time. The first picture is at 0 s. Raises BrokenMedia.
    """

    def __init__(self, folder: Path, fps: float | None, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        if fps is None or not 0 < fps < float("inf"):
            raise BrokenMedia(f"{folder} is a folder of frames, whose rate is {fps}; say how many a second they are, with folder_fps.")
        found: dict[int, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                continue
            number = NUMBER.search(path.stem)
            if number is None:
                raise BrokenMedia(f"{path} has no number in its name, which is to say where the frame belongs; rename it, or take it out.")
            if (twin := found.setdefault(int(number.group()), path)) is not path:
                raise BrokenMedia(f"{twin} and {path.name} have the same number; take one of them out of the folder.")
        if not found:
            raise BrokenMedia(f"{folder} is a folder without pictures; expected a clip, or frames like 00001.jpg.")
        numbers = sorted(found)
        steps = np.diff(numbers)
        if len(set(steps.tolist())) > 1:
            gap = int(np.argmax(steps))
            raise BrokenMedia(f"{folder}: no frame between {found[numbers[gap]].name} and {found[numbers[gap + 1]].name}, expected one at every step "
                              f"of {steps.min()}; copy the folder again, or leave it out.")
        self.files = [found[number] for number in numbers]
        # MVBench's bounds mean the numbers of files that count from 1; numbers that begin elsewhere are of a longer clip.
        self.timeline = Timeline(np.arange(len(numbers)) / fps, fps, int(numbers[0] == 1))

    def frames(self, wanted: list[int]) -> Iterator[np.ndarray]:
        """These pictures, each uint8 [H, W, 3]."""
        size = None
        for index in wanted:
            picture = load_image(self.files[index], self.limits)
            if size is not None and picture.shape != size:
                raise BrokenMedia(f"{self.files[index]} has {picture.shape[1]} x {picture.shape[0]} pixels, and the frames before it "
                                  f"{size[1]} x {size[0]}; make them alike.")
            size = picture.shape
            yield picture
