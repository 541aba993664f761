"""One clip in, some of its frames and their times out. A clip is a file, the content of one, or a folder of numbered pictures.

The rotation that telephones write is applied; non-square pixels are left as they are. At most the frames asked for are held.
"""
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mm.media.errors import BrokenMedia, existing
from mm.media.frame_folder import FrameFolder
from mm.media.images import Limits
from mm.media.readers import PyAV, Reader
from mm.media.sampling import All, Sampling, Timeline
from mm.media.video_file import VideoFile


class Clip(NamedTuple):
    """pixels: uint8 [T, H, W, 3], RGB, upright; indices: which frames of the file these are; times: seconds after its first frame."""

    pixels: np.ndarray
    indices: tuple[int, ...]
    times: tuple[float, ...]


def load_video(source: str | Path | bytes, sampling: Sampling | None = None, limits: Limits | None = None, start: float | None = None,
               end: float | None = None, folder_fps: float | None = None, reader: Reader | None = None, name: str = "the clip") -> Clip:
    """The frames that `sampling` chooses, all of them by default, among those on screen from `start` to `end` seconds.

    folder_fps: rate of a folder of pictures. reader: of clip files, PyAV by default. name: what errors call a clip given by its content.
    A longer side than limits.max_side is reduced to it. Raises BrokenMedia.
    """
    sampling, limits, reader = sampling or All(), limits or Limits(), reader or PyAV()
    if not isinstance(source, bytes) and Path(source).is_dir():
        folder = FrameFolder(Path(source), folder_fps, limits)
        wanted = choose(str(source), folder.timeline, sampling, limits, start, end)
        return gather(folder.frames(sorted(set(wanted))), wanted, folder.timeline)
    if not isinstance(source, bytes):
        source = existing(source)
        name = str(source)
    elif not source:
        raise BrokenMedia(f"{name} is empty (0 bytes); write it again, or leave it out.")
    with VideoFile(source, limits, name) as clip:
        wanted = choose(name, clip.timeline, sampling, limits, start, end)
        return gather(reader.frames(clip, sorted(set(wanted))), wanted, clip.timeline)


def choose(name: str, timeline: Timeline, sampling: Sampling, limits: Limits, start: float | None, end: float | None) -> list[int]:
    try:
        wanted = sampling(timeline, start, end)
    except ValueError as error:
        raise BrokenMedia(f"{name}: {error}") from error
    if len(wanted) > limits.max_frames:
        raise BrokenMedia(f"{name}: {len(wanted)} frames, more than the max_frames of {limits.max_frames}; ask for fewer, or raise max_frames.")
    return wanted


def gather(frames: Iterator[np.ndarray], wanted: list[int], timeline: Timeline) -> Clip:
    """Each distinct frame once from `frames`, in the places where it is wanted."""
    places: dict[int, list[int]] = {}
    for place, index in enumerate(wanted):
        places.setdefault(index, []).append(place)
    pixels = np.empty(0, np.uint8)
    for index, frame in zip(sorted(places), frames, strict=True):
        if not pixels.size:
            pixels = np.empty((len(wanted), *frame.shape), np.uint8)
        pixels[places[index]] = frame
    return Clip(pixels, tuple(wanted), tuple(float(timeline.times[index]) for index in wanted))
