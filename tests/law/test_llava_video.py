"""Of a clip come out the frames that were asked for, upright."""
from pathlib import Path

import numpy as np
import pytest

from mm.media.errors import BrokenMedia
from mm.media.images import Limits
from mm.media.sampling import Even
from mm.media.video import load_video
from tests.clips import moving_square, write_clip


@pytest.mark.parametrize(("file", "codec"), [("a.mkv", "ffv1"), ("a.mp4", "libx264rgb")])
def test_all_frames_come_out_bit_by_bit(file: str, codec: str, tmp_path: Path) -> None:
    clip = moving_square(12)
    write_clip(tmp_path / file, clip, codec=codec)
    assert np.array_equal(load_video(tmp_path / file).pixels, clip)


def test_frames_are_spread_from_the_first_to_the_last(tmp_path: Path) -> None:
    clip = moving_square(13)
    write_clip(tmp_path / "a.mkv", clip)
    assert np.array_equal(load_video(tmp_path / "a.mkv", Even(4)).pixels, clip[[0, 4, 8, 12]])
    assert np.array_equal(load_video(tmp_path / "a.mkv", Even(1)).pixels, clip[[6]])
    assert np.array_equal(load_video(tmp_path / "a.mkv", Even(99)).pixels, clip)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_clip_held_sideways_is_upright(turns: int, tmp_path: Path) -> None:
    clip = moving_square(3)
    write_clip(tmp_path / "a.mp4", np.ascontiguousarray(np.rot90(clip, -turns, axes=(1, 2))), rotation=90 * turns)
    found = load_video(tmp_path / "a.mp4").pixels
    assert found.shape == clip.shape
    assert np.array_equal(found, clip)


def test_large_frames_are_reduced(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", moving_square(3))
    assert load_video(tmp_path / "a.mkv", limits=Limits(max_side=24)).pixels.shape == (3, 16, 24, 3)


@pytest.mark.parametrize(("limits", "message"), [
    (Limits(min_side=40), "frames of 48 x 32 pixels, expected a shorter side of min_side 40"),
    (Limits(max_side=9), "frames of 48 x 32 pixels, reduced to max_side 9, are less than the min_side of 8"),
    (Limits(max_pixels=1000), "at most max_pixels 0.0 million"), (Limits(max_frames=2), "3 frames, more than the max_frames of 2; ask for fewer")])
def test_clips_outside_the_limits_are_refused_with_the_numbers(limits: Limits, message: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", moving_square(3))
    with pytest.raises(BrokenMedia, match=message):
        load_video(tmp_path / "a.mkv", limits=limits)


def test_a_cut_off_clip_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.avi", np.random.default_rng(0).integers(0, 255, (10, 32, 48, 3), np.uint8), codec="ffv1")
    (tmp_path / "cut.avi").write_bytes((tmp_path / "a.avi").read_bytes()[:20_000])
    with pytest.raises(BrokenMedia, match=r"cut\.avi is cut off: \d of 10 frames are there"):
        load_video(tmp_path / "cut.avi")
