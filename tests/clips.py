"""Small clips, made with the library that reads them: one without loss, and one whose frames carry their number as black and white bars."""
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 10


def moving_square(frames: int, height: int = 32, width: int = 48) -> np.ndarray:
    """uint8 [T, H, W, 3]: a red square that moves to the right; frame t has the blue level 10 t everywhere else."""
    clip = np.zeros((frames, height, width, 3), np.uint8)
    for t, picture in enumerate(clip):
        picture[..., 2] = 10 * t
        picture[4:12, 2 + 2 * t:10 + 2 * t] = (255, 0, 0)
    return clip


def write_clip(file: Path, frames: np.ndarray, rotation: int = 0, codec: str = "libx264rgb") -> None:
    """A clip of 10 frames a second, with the note that it is to be turned by `rotation` degrees counterclockwise."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"qp": "0"} if codec == "libx264rgb" else {})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "bgr0"
        if rotation:
            stream.set_display_rotation(rotation)
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def bars(number: int, height: int, width: int) -> np.ndarray:
    """uint8 [H, W, 3]: `number` in bars, the lowest bit first, above a pattern that moves, so that frames refer to one another."""
    picture = np.empty((height, width, 3), np.uint8)
    place = np.arange(width) * BITS // width
    picture[:] = np.where(number >> place & 1, 255, 0)[None, :, None]
    wave = 128 + 90 * np.sin((np.arange(width)[None] + 3 * number) / 9 + np.arange(height // 3)[:, None] / 5)
    picture[height - height // 3:] = wave[..., None]
    return picture


def numbers(frames: np.ndarray) -> list[int]:
    """What the bars of uint8 [T, H, W, 3] say."""
    height, width = frames.shape[1:3]
    places = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    bits = frames[:, height // 6:height // 2, places].mean((1, 3)) > 128
    return (bits * 2 ** np.arange(BITS)).sum(1).tolist()


def write_bars(file: Path, frames: int = 60, codec: str = "libx264", height: int = 48, width: int = 160, pix_fmt: str = "yuv420p",
               times: Sequence[int] | None = None, rotation: int = 0, **options: str) -> Path:
    """A clip of 25 frames a second, or with frames shown at `times` in milliseconds. options: of the encoder."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
        stream.codec_context.thread_count = 1  # the same bytes every time
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(bars(number, height, width), format="rgb24")
            picture.pts = number if times is None else times[number]
            picture.time_base = Fraction(1, 25 if times is None else 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return file


def write_tone(file: Path) -> Path:
    """A second of sound and no picture."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        tone.sample_rate = 16000
        container.mux(stream.encode(tone))
        container.mux(stream.encode())
    return file


def copied(source: Path, target: Path, *, first: int = 0, shift: int = 0, **options: str) -> Path:
    """The packets of a clip of 25 frames a second in another file, without encoding them again.

    first: the packet to begin with. shift: frames by which times go back; those before 0 are hidden by an edit list. options: of the container.
    """
    with av.open(str(source)) as reading, av.open(str(target), "w", options=options) as writing:
        stream = reading.streams.video[0]
        copy, back = writing.add_stream_from_template(stream), int(Fraction(shift, 25) / stream.time_base)
        for number, packet in enumerate(reading.demux(stream)):
            if packet.size and number >= first:
                packet.pts, packet.dts, packet.stream = packet.pts - back, packet.dts - back, copy
                writing.mux(packet)
    return target


def packets(file: Path) -> list[tuple[int, int]]:
    """Where each packet of pictures begins in a file, and how many bytes it has."""
    with av.open(str(file)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def without_the_rest_of_a_packet(file: Path, target: Path) -> Path:
    """A clip whose packet 10 has zeros in place of its last two thirds, which a decoder patches up."""
    content, (start, size) = bytearray(file.read_bytes()), packets(file)[10]
    content[start + size // 3:start + size] = bytes(size - size // 3)
    target.write_bytes(content)
    return target
