"""A clip file as the frames that a model is asked about."""
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
import numpy as np
import torch
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from mm.sample import Media

Sampling = Literal["segment_mid", "even"]
MAX_PIXELS = 2**25  # of a frame; larger ones are refused before they are decoded


def read_clip(path: str | Path, frames: int = 16, sampling: Sampling = "segment_mid") -> Media:
    """`frames` frames of a clip file, all where there are fewer: uint8 [T, H, W, 3], RGB, upright, with their times, if it tells any.

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
        count, stamps = scanned(path)
        wanted = SAMPLINGS[sampling](count, frames)
        pictures, times = decoded(path, wanted, {stamp: index for index, stamp in enumerate(stamps)})
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} is not a clip, or is damaged: {error.strerror}; copy or convert it again") from error
    if len(pictures) < len(wanted):
        raise ValueError(f"{path} is damaged: of the {len(wanted)} frames wanted only {len(pictures)} could be decoded; copy or convert it again")
    return Media(np.stack(pictures), "clip", times)


def opened(path: Path) -> tuple[InputContainer, VideoStream]:
    container = av.open(f"file:{path}", "r")  # "file:", because what stands before a colon in a name would be taken for a protocol
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if streams and streams[0].codec_context:
        return container, streams[0]
    kinds = ", ".join(stream.type for stream in container.streams if stream.type != "video")
    container.close()
    raise ValueError(f"{path} is in a codec that is not known here, or is damaged in its header; convert it" if streams else
                     f"{path} holds no pictures{kinds and f', only {kinds}'}; give a clip")


def scanned(path: Path) -> tuple[int, list[int]]:
    """How many frames are shown, by their packets, because headers of many files tell none or a wrong number; and their time stamps, ascending, none
    where these do not tell frames apart."""
    container, stream = opened(path)
    with container:
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_PIXELS:
            raise ValueError(f"{path} has frames of {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} million that are read; convert it")
        packets = [(packet.pts, packet.is_keyframe, packet.is_discard) for packet in container.demux(stream) if packet.size]
        promised, ordered = stream.frames, container.format.name != "avi" or not stream.codec_context.has_b_frames  # times in an AVI are made up
    if not packets or len(packets) < promised:
        raise ValueError(f"{path} is cut off: {len(packets)} of {promised or 'its'} frames are there; copy it again")
    shown = [pts for pts, _, hidden in packets if not hidden]  # not what an edit list cuts away
    keys = [pts for pts, key, _ in packets if key and pts is not None]
    known = sorted({pts for pts in shown if pts is not None})
    if not keys or not ordered or len(known) < len(shown):
        return len(shown), []
    stamps = [pts for pts in known if pts >= min(keys)]  # nothing before the first key frame can be decoded
    return len(stamps), stamps


def decoded(path: Path, wanted: list[int], places: Mapping[int, int]) -> tuple[list[np.ndarray], tuple[float, ...] | None]:
    """The frames wanted up to the first that cannot be decoded or only be guessed at, and when they are shown. places: time stamp -> index."""
    pictures: list[np.ndarray] = []
    guessed = False
    container, stream = opened(path)
    with container:
        for number, frame in enumerate(container.decode(stream)):
            guessed = frame.is_corrupt or (guessed and not frame.key_frame)  # what follows a damaged frame is made from it
            place = number if not places else -1 if frame.pts is None else places.get(frame.pts, -1)
            if place > wanted[len(pictures)] or (place == wanted[len(pictures)] and guessed):
                break
            if place == wanted[len(pictures)]:
                pictures.append(np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)))
            if len(pictures) == len(wanted):
                break
        unit, rate = stream.time_base or Fraction(1), stream.average_rate or stream.guessed_rate
    if places:
        stamps = sorted(places)
        return pictures, tuple((stamps[index] - stamps[0]) * unit.numerator / unit.denominator for index in wanted)
    return pictures, tuple(float(index / rate) for index in wanted) if rate else None


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
