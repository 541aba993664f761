"""What reading a clip costs: ours against decoding all of it, seeking to each frame, and torchcodec in its exact mode, one thread each.

    python -m bench.video

Makes a clip of 300 s, 320 x 176, a key frame every 250 frames, B-frames (half a minute), and reads 16 and 96 frames spread over it. Each round reads
with every reader in turn, so that a slow moment hits all of them; the least CPU time of a reader counts. Frames carry their number, which is
checked. torchcodec is left out where it does not work. One round seeks to each frame, as that is slow.
"""
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import torch

from bench.machine import machine
from mm.media.sampling import Even
from mm.media.torchcodec import fault
from mm.media.video import load_video

SECONDS, RATE, HEIGHT, WIDTH, BITS = 300, 30, 176, 320, 16
COUNTS = (16, 96)
ROUNDS = 7


def bars(number: int, texture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]: a texture that moves, below the number in black and white bars."""
    picture = np.roll(texture, 2 * number, axis=1)
    bits = number >> (np.arange(WIDTH) * BITS // WIDTH) & 1
    picture[:HEIGHT // 2] = (255 * bits).astype(np.uint8)[:, None]
    return picture


def numbers(frames: np.ndarray) -> list[int]:
    """What the bars say."""
    places = [(2 * bit + 1) * WIDTH // (2 * BITS) for bit in range(BITS)]
    return ((frames[:, HEIGHT // 4, places, 1] > 128) * 2 ** np.arange(BITS)).sum(1).tolist()


def write(file: Path) -> None:
    coarse = torch.randint(0, 256, (1, 3, HEIGHT // 8, WIDTH // 8), generator=torch.Generator().manual_seed(0)).float()
    fine = torch.nn.functional.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bicubic")
    texture = fine.clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": "250", "bf": "3", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(SECONDS * RATE):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(bars(number, texture), format="rgb24")))
        container.mux(stream.encode())


def ours(file: Path, wanted: list[int]) -> np.ndarray:
    return load_video(file, Even(len(wanted))).pixels


def sequential(file: Path, wanted: list[int]) -> np.ndarray:
    """Decode from the first frame to the last one wanted."""
    keep, found = set(wanted), []
    with av.open(str(file)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for index, frame in enumerate(container.decode(video=0)):
            if index in keep:
                found.append(frame.to_ndarray(format="rgb24"))
            if index == wanted[-1]:
                break
    return np.stack(found)


def seeking(file: Path, wanted: list[int]) -> np.ndarray:
    """Go to the key frame before each frame, and decode up to it."""
    found = []
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for index in wanted:
            stamp = round(index / RATE / float(stream.time_base or 1))
            container.seek(stamp, stream=stream)
            found.append(next(frame for frame in container.decode(stream) if (frame.pts or 0) >= stamp).to_ndarray(format="rgb24"))
    return np.stack(found)


def torchcodec(file: Path, wanted: list[int]) -> np.ndarray:
    from torchcodec.decoders import VideoDecoder  # optional

    decoder = VideoDecoder(str(file), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    return decoder.get_frames_at(wanted).data.numpy()


def measure(file: Path, count: int, readers: dict[str, Callable[[Path, list[int]], np.ndarray]]) -> dict[str, float]:
    """Least CPU time of each reader, in seconds; AssertionError where a reader returns other frames."""
    wanted = Even(count).among(SECONDS * RATE, RATE)
    best = dict.fromkeys(readers, float("inf"))
    for number in range(ROUNDS):
        for name, read in readers.items():
            if name == "seek each" and number:
                continue
            start = time.process_time()
            frames = read(file, wanted)
            best[name] = min(best[name], time.process_time() - start)
            if (found := numbers(frames)) != wanted:
                raise AssertionError(f"{name} returned the frames {found}, wanted {wanted}")
    return best


def main() -> None:
    torch.set_num_threads(1)
    readers: dict[str, Callable[[Path, list[int]], np.ndarray]] = {"ours": ours, "sequential": sequential, "seek each": seeking}
    if (reason := fault()) is None:
        readers["torchcodec"] = torchcodec
    print(f"{machine()}, av {version('av')}, torchcodec {version('torchcodec') if reason is None else f'not used ({reason})'}")
    with TemporaryDirectory() as folder:
        write(file := Path(folder) / "clip.mp4")
        print(f"{SECONDS} s, {WIDTH} x {HEIGHT}, {file.stat().st_size / 1e6:.1f} MB: CPU ms, and how many times ours")
        print("frames" + "".join(f"{name:>20s}" for name in readers))
        for count in COUNTS:
            best = measure(file, count, readers)
            print(f"{count:6d}" + "".join(f"{1e3 * taken:12.0f} ({taken / best['ours']:4.2f})" for taken in best.values()), flush=True)


if __name__ == "__main__":
    main()
