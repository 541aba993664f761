"""How the chosen frames of a clip file are decoded: frame-exact, one thread, one frame held at a time."""
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from mm.media.errors import BrokenMedia
from mm.media.images import Limits
from mm.media.video_file import Key, VideoFile

# Codecs that mark frames to which no other refers, so that those that are not wanted need not be decoded. HEVC's marks hold within one temporal
# layer only.
MARKED = frozenset({"h264", "mpeg2video", "mpeg4"})


class Reader(ABC):
    """Decodes frames of an opened clip."""

    @abstractmethod
    def frames(self, clip: VideoFile, wanted: list[int]) -> Iterator[np.ndarray]:
        """The frames with these indices, ascending without repeats, each uint8 [H, W, 3], upright, at most limits.max_side long. BrokenMedia."""


class PyAV(Reader):
    """Jumps to a key frame only where one lies between the last frame and the next one wanted, else decodes on; on the way it passes over frames
    that nothing refers to. So no frame is decoded twice, and frames wanted of one group of pictures cost it once."""

    def frames(self, clip: VideoFile, wanted: list[int]) -> Iterator[np.ndarray]:
        try:
            paint = Painter(clip.limits)
            for frame in (Timed(clip, wanted) if clip.index.pts else counted(clip, wanted)):
                yield paint(frame)
        except av.error.FFmpegError as error:
            raise clip.damaged(error) from error


class Timed:
    """Frames of a clip whose time stamps are known."""

    def __init__(self, clip: VideoFile, wanted: list[int]) -> None:
        self.clip = clip
        self.wanted = [clip.index.pts[index] for index in wanted]
        self.stamps = frozenset(self.wanted)
        self.keys = [key.pts for key in clip.index.keys]

    def __iter__(self) -> Iterator[VideoFrame]:
        position, jumps = None, True
        run: Iterator[VideoFrame] = iter(())
        for stamp in self.wanted:
            key = self.clip.index.keys[max(0, bisect_right(self.keys, stamp) - 1)]
            frame = None
            if jumps:
                if position is None or key.pts > position:
                    run = self.decode(self.jump(key))
                try:
                    frame = met(run, stamp)
                except av.error.FFmpegError:
                    frame = None
                if frame is None:  # the key frame was none, as in streams that refresh bit by bit; or the container cannot jump
                    jumps = False
                    self.clip.reopen()
                    run = self.decode(self.clip.container.demux(self.clip.stream))
            if (frame := frame or met(run, stamp)) is None:
                seconds = (stamp - self.clip.index.pts[0]) * float(self.clip.stream.time_base or 1)
                raise BrokenMedia(f"{self.clip.name} is damaged: the frame at {seconds:.3f} s could not be decoded. Convert it, or leave it out.")
            position = stamp
            yield frame

    def jump(self, key: Key) -> Iterator[Packet]:
        """Packets from the key frame on, or from before it. Containers search by one kind of time stamp or the other, and do not say by which."""
        container, stream = self.clip.container, self.clip.stream
        packets: Iterator[Packet] = iter(())
        for stamp in (key.pts, key.dts):
            if stamp is None:
                continue
            container.seek(stamp, stream=stream, backward=True)
            packets = container.demux(stream)
            first = next(packets, None)
            if first is not None and first.pts is not None and first.pts <= key.pts:
                return chain_one(first, packets)
        self.clip.reopen()
        return self.clip.container.demux(self.clip.stream)

    def decode(self, packets: Iterator[Packet]) -> Iterator[VideoFrame]:
        context = self.clip.stream.codec_context
        passing, marked = None, context.name in MARKED
        for packet in packets:
            unwanted = marked and packet.size > 0 and packet.pts not in self.stamps
            if unwanted != passing:
                context.skip_frame, passing = "NONREF" if unwanted else "DEFAULT", unwanted
            yield from packet.decode()


def chain_one(first: Packet, others: Iterator[Packet]) -> Iterator[Packet]:
    yield first
    yield from others


def met(run: Iterator[VideoFrame], stamp: int) -> VideoFrame | None:
    """The frame with this time stamp, None if the run passes it by or ends, or if the decoder could only guess at it."""
    for frame in sound(run):
        if frame is not None and frame.pts is not None and frame.pts >= stamp:
            return frame if frame.pts == stamp else None
    return None


def sound(run: Iterator[VideoFrame]) -> Iterator[VideoFrame | None]:
    """The frames of a run, None for those that the decoder could only guess at, and for what follows them up to a key frame: it is made from them."""
    guessed = False
    for frame in run:
        guessed = frame.is_corrupt or (guessed and not frame.key_frame)
        yield None if guessed else frame


def counted(clip: VideoFile, wanted: list[int]) -> Iterator[VideoFrame]:
    """Frames of a clip without time stamps: decoded from the beginning to the last one wanted."""
    clip.reopen()
    keep, found = set(wanted), 0
    for index, frame in enumerate(sound(clip.container.decode(clip.stream))):
        if index in keep:
            if frame is None:
                break
            found += 1
            yield frame
        if index == wanted[-1]:
            return
    raise BrokenMedia(
        f"{clip.name} is damaged: it should hold {clip.index.frames} frames, but of the {len(wanted)} wanted only {found} could be decoded.")


class Painter:
    """Frames as arrays; all come out in the size of the first, should a stream change its own on the way."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.reformatter = limits, VideoReformatter()
        self.size: tuple[int, int] | None = None

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        if self.size is None:
            scale = min(1.0, self.limits.max_side / max(frame.width, frame.height))
            self.size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        picture = self.reformatter.reformat(frame, *self.size, format="rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90))
