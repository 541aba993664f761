"""One clip file in, some of its frames out: uint8 [T, H, W, 3], RGB, upright, evenly spread over the clip.

Frames are counted before any is decoded, by reading the packets, because the headers of many files do not tell or do not tell the truth. At most
the frames asked for are held. The rotation that telephones write is applied; non-square pixels are left as they are.
"""
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from data.errors import BrokenMedia, existing
from data.images import Limits


def load_video(source: str | Path, frames: int | None = None, limits: Limits | None = None) -> np.ndarray:
    """uint8 [T, H, W, 3]: `frames` frames from the first to the last at even distances, all of them if None or if there are fewer.

    A longer side than limits.max_side is reduced to it. Raises BrokenMedia.
    """
    limits = limits or Limits()
    path = existing(source)
    try:
        found = count_frames(path, limits)
        wanted = spread(found, frames)
        if len(wanted) > limits.max_frames:
            raise BrokenMedia(f"{path}: {len(wanted)} frames, more than the max_frames of {limits.max_frames}; ask for fewer, or raise max_frames.")
        pictures = list(decode(path, wanted, limits))
    except av.error.FFmpegError as error:
        raise BrokenMedia(f"{path} is not a clip, or is damaged: {error.strerror}. Copy or convert it again, or leave it out.") from error
    if len(pictures) < len(wanted):
        raise BrokenMedia(f"{path} is damaged: it should hold {found} frames, but of the {len(wanted)} wanted only {len(pictures)} could be decoded.")
    return np.stack(pictures)


def spread(found: int, frames: int | None) -> list[int]:
    """Which of `found` frames: first, last, and evenly between; the middle one if a single one is wanted.

    >>> spread(9, 3), spread(2, 3), spread(9, 1)
    ([0, 4, 8], [0, 1], [4])
    """
    if frames is not None and frames < 1:
        raise ValueError(f"{frames} frames of a clip were asked for; ask for at least 1, or None for all.")
    if frames is None or frames >= found:
        return list(range(found))
    if frames == 1:
        return [found // 2]
    return [i * (found - 1) // (frames - 1) for i in range(frames)]


def count_frames(path: Path, limits: Limits) -> int:
    """Packets of the first video stream. Refuses a file without one, a size outside the limits, and fewer frames than the header promises."""
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise BrokenMedia(f"{path} holds no pictures, only {', '.join(s.type for s in container.streams) or 'nothing'}; expected a clip.")
        stream = container.streams.video[0]
        width, height = stream.codec_context.width, stream.codec_context.height
        if min(width, height) < limits.min_side or width * height > limits.max_pixels:
            raise BrokenMedia(
                f"{path}: frames of {width} x {height} pixels, expected a shorter side of min_side {limits.min_side} or more and at most "
                f"max_pixels {limits.max_pixels / 1e6:.1f} million pixels; convert it, or change the limits.")
        found = sum(1 for packet in container.demux(stream) if packet.size)
        if found < stream.frames or not found:
            raise BrokenMedia(f"{path} is cut off: {found} of {stream.frames} frames are there. Copy it again, or leave it out.")
        return found


def decode(path: Path, wanted: list[int], limits: Limits) -> Iterator[np.ndarray]:
    """The frames with these ascending indices, each uint8 [H, W, 3]; decoding stops after the last."""
    keep = set(wanted)
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in keep:
                scale = min(1.0, limits.max_side / max(frame.width, frame.height))
                picture = frame.to_ndarray(format="rgb24", width=max(1, round(frame.width * scale)), height=max(1, round(frame.height * scale)))
                yield np.ascontiguousarray(np.rot90(picture, frame.rotation // 90))
            if index == wanted[-1]:
                return
