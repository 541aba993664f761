"""Which frames of a clip a model sees: the policies of published pipelines. They choose by number and time of frames and never see a pixel."""
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch


class Timeline(NamedTuple):
    """When the frames of a clip are shown. times: float64 [T], seconds after the first frame, ascending; fps: average rate of the clip; first: the
    number that the first frame carries, which is 0 but in a folder whose pictures count from 1."""

    times: np.ndarray
    fps: float
    first: int = 0

    def within(self, start: float | None, end: float | None) -> tuple[int, int]:
        """First and last frame that are on screen between two times in seconds. ValueError where there is none.

        Our own definition: a frame is on screen from its time until that of the next one.
        """
        last = len(self.times) - 1
        ends = float(self.times[last]) + 1 / self.fps
        low, high = 0.0 if start is None else start, float("inf") if end is None else end
        if not 0 <= low < high:
            raise ValueError(f"frames from {start} s to {end} s were asked for, expected 0 <= start < end")
        if low >= ends:
            raise ValueError(f"frames from {start} s on were asked for, but the clip ends at {ends:.3f} s; correct the bounds")
        first, behind = int(np.searchsorted(self.times, low, "right")), int(np.searchsorted(self.times, high, "left"))
        return max(first - 1, 0), max(behind - 1, first - 1, 0)


class Sampling(ABC):
    """Called with a timeline, and bounds in seconds or None, it gives the indices of the frames that are seen, ascending; one may come twice."""

    def __call__(self, clip: Timeline, start: float | None = None, end: float | None = None) -> list[int]:
        """ValueError where the bounds hold no frame."""
        low, high = clip.within(start, end)
        return [low + index for index in self.among(high - low + 1, clip.fps)]

    @abstractmethod
    def among(self, count: int, fps: float) -> list[int]:
        """Which of `count` frames, 1 or more, that follow one another at `fps` on average."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class All(Sampling):
    """Every frame."""

    def among(self, count: int, fps: float) -> list[int]:
        return list(range(count))


class Even(Sampling):
    """The first, the last and evenly between; the middle one if a single one is wanted, all where there are fewer.

    For two frames and more it takes the same as LLaVA-Video does under `force_sample` (released code), whose clips have as many or more.
    """

    def __init__(self, frames: int = 8) -> None:
        self.frames = at_least_one("Even", "frames", frames)

    def among(self, count: int, fps: float) -> list[int]:
        return thinned(list(range(count)), self.frames)


class SegmentMid(Sampling):
    """The middle of each of `frames` equal segments; all where there are fewer. Fei et al., "Video-CCAM", arXiv 2408.14023, 2024 (released code)."""

    def __init__(self, frames: int = 16) -> None:
        self.frames = at_least_one("SegmentMid", "frames", frames)

    def among(self, count: int, fps: float) -> list[int]:
        if self.frames >= count:
            return list(range(count))
        borders = segments(count, self.frames)
        return [(low + high) // 2 for low, high in pairwise(borders)]


class SegmentJitter(Sampling):
    """A frame drawn uniformly from each of the segments of `SegmentMid`, for training; all where there are fewer. Our own definition; drawing within
    segments is that of Wang et al., "Temporal Segment Networks", ECCV 2016.

    Draws from PyTorch's generator, which the loader seeds by the run's seed and the sample's place in the run, so that every pass sees other frames
    and a resumed run the same ones.
    """

    def __init__(self, frames: int = 16) -> None:
        self.frames = at_least_one("SegmentJitter", "frames", frames)

    def among(self, count: int, fps: float) -> list[int]:
        if self.frames >= count:
            return list(range(count))
        borders = segments(count, self.frames)
        return [int(torch.randint(low, high, ())) for low, high in pairwise(borders)]


class MVBench(Sampling):
    """Li et al., "MVBench", CVPR 2024: always `frames` of them, so that one comes twice where bounds are close (released code).

    Bounds are rounded to frame numbers, halves to even; in a folder whose pictures count from 1, the numbers of the files are meant.
    """

    def __init__(self, frames: int = 16) -> None:
        self.frames = at_least_one("MVBench", "frames", frames)

    def __call__(self, clip: Timeline, start: float | None = None, end: float | None = None) -> list[int]:
        clip.within(start, end)  # refuses what it cannot serve
        final = clip.first + len(clip.times) - 1
        low = clip.first if start is None else max(clip.first, round(start * clip.fps))
        high = final if end is None else min(round(end * clip.fps), final)
        low = min(low, final)
        return [number - clip.first for number in numbers(low, max(low, high), self.frames)]

    def among(self, count: int, fps: float) -> list[int]:
        return numbers(0, count - 1, self.frames)


class LLaVAVideo(Sampling):
    """Every round(rate / fps)-th frame from the first on; where these are more than `cap`, `cap` of all frames evenly. Zhang et al., "Video
    Instruction Tuning with Synthetic Data" (LLaVA-Video), arXiv 2410.02713, 2024 (released code, less two faults).

    The release fails where a clip has less than half the rate wanted, of which all frames are taken here. It tells times by the stride instead of
    the rate; here they are those of the file.
    """

    def __init__(self, fps: float = 1.0, cap: int = 64) -> None:
        self.fps, self.cap = positive("LLaVAVideo", fps), at_least_one("LLaVAVideo", "cap", cap)

    def among(self, count: int, fps: float) -> list[int]:
        chosen = list(range(0, count, max(1, round(fps / self.fps))))
        return chosen if len(chosen) <= self.cap else np.linspace(0, count - 1, self.cap).astype(int).tolist()


class RateTruncated(Sampling):
    """`fps` frames a second, and of these the first `cap`: what comes later is not seen. Fei et al., "Video-CCAM", arXiv 2408.14023, 2024 (released
    code). fps: the clip's own rate if None; cap: no limit if None."""

    def __init__(self, fps: float | None = 1.0, cap: int | None = 64) -> None:
        self.fps = None if fps is None else positive("RateTruncated", fps)
        self.cap = None if cap is None else at_least_one("RateTruncated", "cap", cap)

    def among(self, count: int, fps: float) -> list[int]:
        return at_rate(count, fps, self.fps)[:self.cap]


class RateThinned(Sampling):
    """`fps` frames a second; where these are more than `cap`, `cap` of them evenly from first to last, so that the end of a clip is seen. Our own
    definition. fps: the clip's own rate if None."""

    def __init__(self, fps: float | None = 1.0, cap: int = 64) -> None:
        self.fps = None if fps is None else positive("RateThinned", fps)
        self.cap = at_least_one("RateThinned", "cap", cap)

    def among(self, count: int, fps: float) -> list[int]:
        return thinned(at_rate(count, fps, self.fps), self.cap)


def thinned(chosen: list[int], most: int) -> list[int]:
    """`most` of them at even distances.

    >>> thinned(list(range(9)), 3), thinned([3, 4], 3), thinned(list(range(9)), 1)
    ([0, 4, 8], [3, 4], [4])
    """
    if most >= len(chosen):
        return chosen
    if most == 1:
        return [chosen[len(chosen) // 2]]
    return [chosen[i * (len(chosen) - 1) // (most - 1)] for i in range(most)]


def segments(count: int, parts: int) -> list[int]:
    """The borders of equal parts of `count` frames. PyTorch's rounding of them is what published indices rest on."""
    return torch.linspace(0, count, parts + 1, dtype=torch.int64).tolist()


def numbers(low: int, high: int, parts: int) -> list[int]:
    """MVBench's numbers between two others."""
    size = (high - low) / parts
    return [int(low + size / 2 + np.round(size * index)) for index in range(parts)]


def at_rate(count: int, found: float, wanted: float | None) -> list[int]:
    """`wanted` frames a second of a clip with `found`; as in the released code in float32, halves rounded to even. A clip with fewer gives all its
    frames once, where the release repeats them."""
    indices = torch.arange(0, count, 1.0 if wanted is None else max(1.0, found / wanted), dtype=torch.float32).round().int().tolist()
    return [index for index in indices if index < count]


def at_least_one(policy: str, argument: str, number: int) -> int:
    if number < 1:
        raise ValueError(f"{policy}: {argument} is a number of frames, at least 1; got {number}. All frames are mm.media.All.")
    return number


def positive(policy: str, fps: float) -> float:
    if not 0 < fps < float("inf"):
        raise ValueError(f"{policy}: fps is a number of frames a second, above 0; got {fps}")
    return fps
