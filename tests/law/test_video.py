"""Every frame of every kind of clip is the frame that was asked for, at its time; what cannot be read is refused, never replaced by a neighbour."""
import io
import random
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from PIL import Image

import mm.media.readers
from mm.media.errors import BrokenMedia
from mm.media.readers import PyAV, Reader
from mm.media.sampling import Even, Sampling
from mm.media.torchcodec import TorchCodec, fault
from mm.media.video import load_video
from tests.clips import bars, copied, numbers, packets, without_the_rest_of_a_packet, write_bars, write_tone

IRREGULAR = list(accumulate([0, *[40, 40, 7, 200, 33, 1, 1000, 40, 60, 90] * 6]))[:60]
CLIPS: dict[str, Callable[[Path], Path]] = {
    "one group": lambda folder: write_bars(folder / "a.mp4", g="250", bf="0"),
    "one group, B-frames": lambda folder: write_bars(folder / "a.mp4", g="250", bf="3"),
    "short groups, B-frames": lambda folder: write_bars(folder / "a.mp4", g="12", bf="3"),
    "groups shorter than the reordering": lambda folder: write_bars(folder / "a.mp4", g="3", bf="2", sc_threshold="0"),
    "key frames only": lambda folder: write_bars(folder / "a.mp4", g="1"),
    "open groups": lambda folder: write_bars(folder / "a.mp4", **{"x264-params": "keyint=10:min-keyint=10:open-gop=1:bframes=3:scenecut=0"}),
    "refreshed bit by bit": lambda folder: write_bars(folder / "a.ts", **{"x264-params": "keyint=20:intra-refresh=1"}),
    "irregular times": lambda folder: write_bars(folder / "a.mp4", times=IRREGULAR, g="12", bf="2"),
    "irregular times, Matroska": lambda folder: write_bars(folder / "a.mkv", times=IRREGULAR, g="12", bf="2"),
    "Matroska": lambda folder: write_bars(folder / "a.mkv", g="12", bf="3"),
    "transport stream": lambda folder: write_bars(folder / "a.ts", g="12", bf="3"),
    "AVI without times": lambda folder: write_bars(folder / "a.avi", g="12", bf="3"),
    "AVI": lambda folder: write_bars(folder / "a.avi", codec="mpeg4", g="12", qscale="2"),
    "MPEG-4": lambda folder: write_bars(folder / "a.mp4", codec="mpeg4", g="12", bf="2", qscale="2"),
    "MPEG-2": lambda folder: write_bars(folder / "a.mpg", codec="mpeg2video", g="12", bf="2", qscale="2"),
    "HEVC": lambda folder: write_bars(folder / "a.mp4", codec="libx265", preset="ultrafast", **{"x265-params": "keyint=12:bframes=3:log-level=none"}),
    "VP9": lambda folder: write_bars(folder / "a.webm", codec="libvpx-vp9", g="12", deadline="realtime", **{"cpu-used": "8"}),
    "one frame": lambda folder: write_bars(folder / "a.mp4", frames=1),
    "odd sizes": lambda folder: write_bars(folder / "a.mp4", height=51, width=163, pix_fmt="yuv444p", g="12", bf="2"),
}
READERS: list[type[Reader]] = [PyAV] if fault() else [PyAV, TorchCodec]


@pytest.fixture(scope="module", params=list(CLIPS))
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A clip of each kind and the number of its frames."""
    return CLIPS[request.param](tmp_path_factory.mktemp("clip")), 1 if request.param == "one frame" else 60


class Chosen(Sampling):
    """These frames."""

    def __init__(self, indices: list[int]) -> None:
        self.indices = indices

    def among(self, count: int, fps: float) -> list[int]:
        return self.indices


@pytest.mark.parametrize("reader", READERS)
def test_all_frames_of_a_clip_are_there_in_order(clip: tuple[Path, int], reader: type[Reader]) -> None:
    file, count = clip
    found = load_video(file, reader=reader())
    assert numbers(found.pixels) == list(range(count)) == list(found.indices)


@pytest.mark.parametrize("reader", READERS)
def test_each_frame_alone_is_the_one_of_the_whole(clip: tuple[Path, int], reader: type[Reader]) -> None:
    file, count = clip
    whole = load_video(file).pixels
    for index in range(count):
        assert np.array_equal(load_video(file, Chosen([index]), reader=reader()).pixels, whole[[index]]), index


@pytest.mark.parametrize("reader", READERS)
def test_any_few_frames_are_those_of_the_whole(clip: tuple[Path, int], reader: type[Reader]) -> None:
    file, count = clip
    whole, draw = load_video(file), random.Random(0)
    for _ in range(12):
        chosen = sorted(draw.choices(range(count), k=draw.randint(1, 9)))  # some of them twice
        found = load_video(file, Chosen(chosen), reader=reader())
        assert np.array_equal(found.pixels, whole.pixels[chosen])
        assert found.indices == tuple(chosen)
        assert found.times == tuple(whole.times[index] for index in chosen)


def test_the_content_of_a_file_is_read_like_the_file(clip: tuple[Path, int]) -> None:
    file, _ = clip
    assert np.array_equal(load_video(file.read_bytes(), Even(5)).pixels, load_video(file, Even(5)).pixels)


def test_times_are_those_at_which_frames_are_shown(tmp_path: Path) -> None:
    assert load_video(CLIPS["irregular times"](tmp_path)).times == pytest.approx([time / 1000 for time in IRREGULAR], abs=1e-3)
    assert load_video(CLIPS["Matroska"](tmp_path), Even(3)).times == pytest.approx([0, 29 / 25, 59 / 25])
    assert load_video(CLIPS["AVI without times"](tmp_path), Even(3)).times == pytest.approx([0, 29 / 25, 59 / 25])
    assert load_video(CLIPS["one frame"](tmp_path)).times == (0.0,)


def test_bounds_take_the_frames_that_are_on_screen_between_them(tmp_path: Path) -> None:
    file = write_bars(tmp_path / "a.mp4")
    assert load_video(file, start=0.4, end=0.6).indices == (10, 11, 12, 13, 14)
    assert load_video(file, start=0.41, end=0.61).indices == (10, 11, 12, 13, 14, 15)
    assert load_video(file, end=0.04).indices == (0,)
    assert load_video(file, Even(2), start=2).indices == (50, 59)
    for start, end, message in [(2.4, None, "the clip ends at 2.400 s"), (1, 1, "expected 0 <= start < end"), (-1, 1, "expected 0 <= start < end")]:
        with pytest.raises(BrokenMedia, match=rf"a\.mp4: .*{message}"):
            load_video(file, start=start, end=end)


@pytest.mark.parametrize("rate", [10, 25, Fraction(30000, 1001)])
@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_a_bound_at_the_time_of_a_frame_begins_with_it(name: str, rate: int | Fraction, tmp_path: Path) -> None:
    """No product of floats makes 1.4 s lie before the frame at 1.4 s."""
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height = 16, 16
        for _ in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    for index in range(60):
        assert load_video(tmp_path / name, start=float(index / rate), end=float((index + 1) / rate)).indices == (index,)


def test_frames_cut_away_by_an_edit_list_are_not_counted(tmp_path: Path) -> None:
    """As in a clip that was cut without encoding it again: decoding begins at a key frame before the first one shown."""
    clip = copied(write_bars(tmp_path / "a.mp4", g="25", bf="2"), tmp_path / "b.mp4", shift=10)
    for reader in READERS:
        found = load_video(clip, reader=reader())
        assert numbers(found.pixels) == list(range(10, 60))
        assert found.times[:2] == pytest.approx((0, 0.04))
        assert numbers(load_video(clip, Chosen([0, 3, 20, 49]), reader=reader()).pixels) == [10, 13, 30, 59]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_clip_held_sideways_is_upright(turns: int, reader: type[Reader], tmp_path: Path) -> None:
    file = write_bars(tmp_path / "a.mp4", rotation=90 * turns)
    with av.open(str(file)) as container:
        stored = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.array_equal(load_video(file, reader=reader()).pixels, np.rot90(stored, turns, axes=(1, 2)))


def test_few_wanted_frames_are_decoded_from_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame twice, no group without a wanted frame, no B-frame that is not wanted."""
    decoded: list[int] = []
    decode = mm.media.readers.Timed.decode

    def watched(self: mm.media.readers.Timed, packets: Iterator[Packet]) -> Iterator[VideoFrame]:
        for frame in decode(self, packets):
            decoded.append(frame.pts or 0)
            yield frame

    monkeypatch.setattr(mm.media.readers.Timed, "decode", watched)
    file = write_bars(tmp_path / "a.mp4", frames=200, **{"x264-params": "keyint=50:min-keyint=50:bframes=3:b-pyramid=0:b-adapt=0:scenecut=0"})
    assert numbers(load_video(file, Chosen([10, 20, 160])).pixels) == [10, 20, 160]
    assert len(decoded) == len(set(decoded))
    assert len(decoded) < 16  # of 21 + 11 frames up to the wanted ones, three in four are B-frames


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    for name, codec in [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4")]:
        whole = write_bars(tmp_path / name, codec=codec).read_bytes()
        for part in (0.05, 0.5, 0.9):
            (tmp_path / f"cut_{name}").write_bytes(whole[:int(len(whole) * part)])
            with pytest.raises(BrokenMedia, match=rf"cut_{name} is (cut off|not a clip, or is damaged)"):
                load_video(tmp_path / f"cut_{name}", Even(2))


def test_a_header_that_was_cut_off_is_refused_wherever_it_was(tmp_path: Path) -> None:
    whole = write_bars(tmp_path / "a.mp4", frames=3).read_bytes()
    for length in range(whole.index(b"moov"), whole.index(b"stsz"), 3):
        with pytest.raises(BrokenMedia, match="the piece"):
            load_video(whole[:length], name="the piece")
    animation = io.BytesIO()
    pictures = [Image.fromarray(bars(number, 48, 160)) for number in range(3)]
    pictures[0].save(animation, "WEBP", save_all=True, append_images=pictures[1:])
    with pytest.raises(BrokenMedia, match="the drawing does not tell the size of its frames, or is in a format that is not read as a clip"):
        load_video(animation.getvalue(), name="the drawing")


def test_a_film_header_before_a_cut_is_no_excuse(tmp_path: Path) -> None:
    """With the index in front, as for streaming, a cut file opens, and its first frames could be read."""
    whole = copied(write_bars(tmp_path / "a.mp4"), tmp_path / "b.mp4", movflags="faststart")
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-400])
    with pytest.raises(BrokenMedia, match=r"cut\.mp4 is cut off"):
        load_video(tmp_path / "cut.mp4", Chosen([0]))


@pytest.mark.parametrize("reader", READERS)
def test_damage_on_the_way_to_a_wanted_frame_is_refused(reader: type[Reader], tmp_path: Path) -> None:
    """As far as the decoder notices it: wrong coefficients in a frame that can still be parsed look like any others."""
    whole = bytearray(write_bars(tmp_path / "a.mp4", g="250", bf="0", frames=30).read_bytes())
    start, size = packets(tmp_path / "a.mp4")[10]
    whole[start:start + size] = bytes(255 - byte for byte in whole[start:start + size])
    (tmp_path / "b.mp4").write_bytes(whole)
    assert numbers(load_video(tmp_path / "b.mp4", Chosen([3]), reader=reader()).pixels) == [3]  # what lies before it is whole
    with pytest.raises(BrokenMedia, match=r"b\.mp4 is .*damaged"):
        load_video(tmp_path / "b.mp4", Chosen([3, 20]), reader=reader())


@pytest.mark.parametrize(("name", "options"), [("a.mp4", {"bf": "0"}), ("a.avi", {"bf": "2"}), ("a.mp4", {"codec": "mpeg4", "qscale": "2"})])
def test_what_is_made_from_a_frame_that_was_guessed_at_is_refused(name: str, options: dict[str, str], tmp_path: Path) -> None:
    """The decoder patches up a frame whose middle is lost, says so of that frame alone, and goes on with it."""
    file = write_bars(tmp_path / name, g="30", height=96, width=320, **options)  # type: ignore[arg-type]
    clean, damaged = load_video(file).pixels, without_the_rest_of_a_packet(file, tmp_path / f"b{name}")
    for chosen in ([20], [5, 20], [25]):
        with pytest.raises(BrokenMedia, match="is damaged"):
            load_video(damaged, Chosen(chosen))
    assert np.array_equal(load_video(damaged, Chosen([3, 35, 45])).pixels, clean[[3, 35, 45]])  # with another key frame between


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    write_tone(tmp_path / "tone.mp4")
    (tmp_path / "text.mp4").write_text("a clip, honestly")
    for name, message in [("empty.mp4", "is empty"), ("tone.mp4", "holds no pictures, only audio"), ("text.mp4", "is not a clip"),
                          ("none.mp4", "does not exist")]:
        with pytest.raises(BrokenMedia, match=rf"{name} {message}"):
            load_video(tmp_path / name)
    with pytest.raises(BrokenMedia, match="a piece of a shard is empty"):
        load_video(b"", name="a piece of a shard")


def test_a_name_with_a_colon_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_bars(tmp_path / "12:30 é%02d.mp4", frames=3).parent)
    assert numbers(load_video("12:30 é%02d.mp4").pixels) == [0, 1, 2]


def write_folder(folder: Path, frames: int = 12, first: int = 1) -> Path:
    folder.mkdir()
    for number in range(frames):
        Image.fromarray(bars(number, 48, 160)).save(folder / f"{number + first:05d}.png")
    return folder


def test_a_folder_of_frames_is_a_clip(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames")
    (folder / "Thumbs.db").write_text("not a frame")
    (folder / "00012.png").rename(folder / "12.png")  # by number, not by name
    found = load_video(folder, Even(4), folder_fps=3)
    assert numbers(found.pixels) == [0, 3, 7, 11]
    assert found.times == pytest.approx((0, 1, 7 / 3, 11 / 3))
    assert load_video(folder, folder_fps=3, start=1, end=2).indices == (3, 4, 5)


def test_a_folder_with_a_hole_or_without_a_rate_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames")
    with pytest.raises(BrokenMedia, match="folder of frames, whose rate is None; say how many a second"):
        load_video(folder)
    shutil.copy(folder / "00003.png", folder / "frame3.png")
    with pytest.raises(BrokenMedia, match=r"00003\.png and frame3\.png have the same number"):
        load_video(folder, folder_fps=3)
    (folder / "frame3.png").unlink()
    (folder / "00005.png").unlink()
    with pytest.raises(BrokenMedia, match=r"no frame between 00004\.png and 00006\.png"):
        load_video(folder, folder_fps=3)
    (tmp_path / "bare").mkdir()
    with pytest.raises(BrokenMedia, match="a folder without pictures"):
        load_video(tmp_path / "bare", folder_fps=3)


def test_torchcodec_is_taken_only_where_it_decodes() -> None:
    if fault() is None:
        TorchCodec()
    else:
        with pytest.raises(ValueError, match=r"TorchCodec cannot be used: .* read with mm\.media\.PyAV"):
            TorchCodec()
