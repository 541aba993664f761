"""A clip file as the frames that a model is asked about."""
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
import numpy as np
import torch

from mm.sample import Media

Sampling = Literal["segment_mid", "even"]
MAX_PIXELS = 2**25  # of a frame; larger ones are refused before they are decoded


def read_clip(path: str | Path, frames: int = 16, sampling: Sampling = "segment_mid") -> Media:
    """`frames` frames of a clip file, all where there are fewer: uint8 [T, H, W, 3], RGB, upright, with their times.

    segment_mid: the middles of equal segments, as Video-CCAM's released code chooses; even: the first, the last and evenly between. The file is
    decoded from its beginning to the last frame wanted, so a question about an hour takes minutes. Raises ValueError for a file that is missing, no
    clip or damaged; a Matroska or transport stream that was cut off is taken for a shorter clip.
    """
    path = Path(path)
    if frames < 1:
        raise ValueError(f"{frames} frames of {path.name} were asked for; ask for 1 or more")
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give the path of a clip")
    try:
        found = count(path)
        wanted = SAMPLINGS[sampling](found, frames)
        pictures, times = decoded(path, set(wanted))
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} is not a clip, or is damaged: {error.strerror}; copy or convert it again") from error
    if len(pictures) < len(wanted):
        raise ValueError(f"{path} is damaged: of the {len(wanted)} frames wanted only {len(pictures)} could be decoded; copy or convert it again")
    return Media(np.stack(pictures), "clip", tuple(times))


def count(path: Path) -> int:
    """Frames by their packets, because headers of many files tell none or a wrong number."""
    with av.open(str(path)) as container:
        if not container.streams.video:
            kinds = ", ".join(stream.type for stream in container.streams)
            raise ValueError(f"{path} holds no pictures{kinds and f', only {kinds}'}; give a clip")
        stream = container.streams.video[0]
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_PIXELS:
            raise ValueError(f"{path} has frames of {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} million that are read; convert it")
        found = sum(1 for packet in container.demux(stream) if packet.size)
    if not found or found < stream.frames:
        raise ValueError(f"{path} is cut off: {found} of {stream.frames or 'its'} frames are there; copy it again")
    return found


def decoded(path: Path, wanted: set[int]) -> tuple[list[np.ndarray], list[float]]:
    pictures: list[np.ndarray] = []
    times: list[float] = []
    first = 0.0
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            first = frame.time or 0.0 if index == 0 else first
            if index in wanted:
                pictures.append(np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)))
                times.append((frame.time or 0.0) - first)
            if index >= max(wanted):
                break
    return pictures, times


def segment_mid(found: int, frames: int) -> list[int]:
    """
    >>> segment_mid(9, 3), segment_mid(2, 3)
    ([1, 4, 7], [0, 1])
    """
    borders = torch.linspace(0, found, frames + 1, dtype=torch.int64).tolist()  # its rounding is the release's
    return [(low + high) // 2 for low, high in pairwise(borders)] if frames < found else list(range(found))


def even(found: int, frames: int) -> list[int]:
    """
    >>> even(9, 3), even(2, 3), even(9, 1)
    ([0, 4, 8], [0, 1], [4])
    """
    if frames == 1:
        return [found // 2]
    return [i * (found - 1) // (frames - 1) for i in range(frames)] if frames < found else list(range(found))


SAMPLINGS: Mapping[Sampling, Callable[[int, int], list[int]]] = {"segment_mid": segment_mid, "even": even}
