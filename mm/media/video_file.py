"""A clip file, opened: how many frames it shows and when, and which of them can be jumped to, read from its packets without decoding one.

Headers are not trusted: many do not tell the number of frames, some tell a wrong one.
"""
import io
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from mm.media.errors import BrokenMedia
from mm.media.images import Limits
from mm.media.matroska import promised_bytes
from mm.media.sampling import Timeline

NEARLY = 0.01  # by which a header's rate may miss that of the time stamps, which some containers round


class Key(NamedTuple):
    """A frame that is decoded without others: its time stamps of presentation and decoding, the latter None where the container has none."""

    pts: int
    dts: int | None


class Index(NamedTuple):
    """pts: time stamps of the frames that are shown, ascending; keys: where decoding may start, ascending. Both are empty where a file does not say
    when its frames are shown; they are then told apart by counting. frames: how many. cut: frames of an edit list are decoded but not shown."""

    pts: list[int]
    keys: list[Key]
    frames: int
    cut: bool


class VideoFile:
    """source: a path, or the content of a file. name: what errors call it. Raises BrokenMedia; to be used with `with`.

    Refuses what holds no moving picture, a size outside the limits, and a file that ends before it should. Transport streams (.ts), fragmented MP4,
    live Matroska, FLV, GIF and raw streams do not say where they should end, or FFmpeg does not look: one that was cut may be a shorter clip.
    """

    def __init__(self, source: Path | bytes, limits: Limits, name: str) -> None:
        self.source, self.limits, self.name = source, limits, name
        try:
            self.container, self.stream = self.open()
            try:
                self.admit()
                self.index = self.scan()
                self.timeline = self.times()
            except BaseException:
                self.container.close()
                raise
        except av.error.FFmpegError as error:
            raise self.damaged(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.container.close()

    def damaged(self, error: av.error.FFmpegError) -> BrokenMedia:
        return BrokenMedia(f"{self.name} is not a clip, or is damaged: {error.strerror}. Copy or convert it again, or leave it out.")

    def open(self) -> tuple[InputContainer, VideoStream]:
        # "file:", because what stands before a colon in a name would be taken for a protocol
        container = av.open(io.BytesIO(self.source) if isinstance(self.source, bytes) else f"file:{self.source}", "r")
        moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not moving:
            kinds = ", ".join(stream.type for stream in container.streams if stream.type != "video") or "nothing"
            container.close()
            raise BrokenMedia(f"{self.name} holds no pictures, only {kinds}; expected a clip.")
        if not moving[0].codec_context:
            container.close()
            raise BrokenMedia(f"{self.name} is in a codec that is not known here, or is damaged in its header; convert it, or copy it again.")
        moving[0].codec_context.thread_count = 1  # workers are processes; a pool of threads in each would only get in the way of the others
        return container, moving[0]

    def reopen(self) -> None:
        """From the beginning again."""
        self.container.close()
        self.container, self.stream = self.open()

    def admit(self) -> None:
        width, height, limits = self.stream.codec_context.width, self.stream.codec_context.height, self.limits
        if not width or not height:
            raise BrokenMedia(f"{self.name} does not tell the size of its frames, or is in a format that is not read as a clip, like animated WebP; "
                              "convert it, to MP4 for one, or leave it out.")
        if min(width, height) < limits.min_side or width * height > limits.max_pixels:
            raise BrokenMedia(
                f"{self.name}: frames of {width} x {height} pixels, expected a shorter side of min_side {limits.min_side} or more and at most "
                f"max_pixels {limits.max_pixels / 1e6:.1f} million pixels; convert it, or change the limits.")
        if round(min(width, height) * min(1.0, limits.max_side / max(width, height))) < limits.min_side:
            raise BrokenMedia(f"{self.name}: frames of {width} x {height} pixels, reduced to max_side {limits.max_side}, are less than the min_side "
                              f"of {limits.min_side}; crop or leave it out, or lower min_side.")

    def scan(self) -> Index:
        stamps: list[int | None] = []
        keys, packets, hidden, whole = [], 0, 0, True
        for packet in self.container.demux(self.stream):
            if not packet.size:
                continue
            packets += 1
            whole &= not packet.is_corrupt
            if packet.is_keyframe and packet.pts is not None:
                keys.append(Key(packet.pts, packet.dts))
            if packet.is_discard:
                hidden += 1
            else:
                stamps.append(packet.pts)
        self.check_end(packets, whole)
        pts = sorted(stamp for stamp in stamps if stamp is not None)
        # AVI stores frames in the order of decoding and no times; those that FFmpeg makes up are wrong where the two orders differ.
        ordered = self.container.format.name != "avi" or not self.stream.codec_context.has_b_frames
        if not keys or not ordered or len(set(pts)) < len(stamps):
            return Index([], [], len(stamps), hidden > 0)
        keys.sort()
        shown = [stamp for stamp in pts if stamp >= keys[0].pts]  # nothing before the first key frame can be decoded
        if not shown:
            raise BrokenMedia(f"{self.name} shows no frame: all {packets} lie outside its edit list; convert it, or leave it out.")
        return Index(shown, keys, len(shown), hidden > 0)

    def check_end(self, found: int, whole: bool) -> None:
        promised = self.stream.frames
        if found < promised or not found:
            raise BrokenMedia(f"{self.name} is cut off: {found} of {promised} frames are there. Copy it again, or leave it out.")
        if not whole:
            raise BrokenMedia(f"{self.name} is cut off in its frame {found}. Copy it again, or leave it out.")
        with io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb") as file:
            expected = promised_bytes(file.read(4096))
            there = file.seek(0, io.SEEK_END)
        if expected is not None and there < expected:
            raise BrokenMedia(f"{self.name} is cut off: {there} of {expected} bytes are there. Copy it again, or leave it out.")

    def times(self) -> Timeline:
        """Seconds from the first frame that is shown. The rate is the header's where the time stamps bear it out, and theirs where they do not."""
        said = self.stream.average_rate or self.stream.guessed_rate or Fraction(0)
        if not self.index.pts:
            if not said:
                raise BrokenMedia(f"{self.name} tells neither when its frames are shown nor at which rate; convert it.")
            return Timeline(np.arange(self.index.frames) / float(said), float(said))
        unit = self.stream.time_base or Fraction(1)
        # Divided last, so that each is the float nearest to the time: a bound of 1.4 s is then no earlier than the frame at 1.4 s.
        times = (np.array(self.index.pts) - self.index.pts[0]) * unit.numerator / unit.denominator
        if self.index.frames == 1:
            return Timeline(times, float(said) or 1.0)
        measured = (self.index.frames - 1) / float(times[-1])
        return Timeline(times, float(said) if abs(float(said) / measured - 1) < NEARLY else measured)
