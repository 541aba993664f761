"""python -m mm.ask: one question, one picture or clip, one answer; and one sentence where something is wrong."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm.ask import ask, main, panels, probability_of_yes, read_clip, strip, unknown_words
from mm.media import All, Even, Sampling, SegmentMid
from mm.models import VLM
from mm.sample import Sample, Turn
from mm.streams import MLP
from tests.clips import copied, numbers, without_the_rest_of_a_packet, write_bars, write_tone
from tests.vlms import about, picture, toy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a model, and a picture beside it."""
    folder = tmp_path_factory.mktemp("run")
    toy().save(folder / "model")
    Image.fromarray(picture(0, size=(20, 24)).frames[0]).save(folder / "x.png")
    return folder


def test_it_answers_and_writes_three_panels(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "--image", str(run / "x.png"), "is there a star ?", "--places", "2", "--max-new-tokens", "3"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1].startswith(str(run / "x.ask.png"))
    panel = Image.open(run / "x.ask.png")
    assert panel.size == (3 * 384 + 2 * 8, 320)


def test_the_answer_is_what_generate_says() -> None:
    vlm = toy()
    pixels = picture(3).frames[0]
    reply = ask(vlm, pixels, "is there a star ?", max_new_tokens=4)
    assert reply.text == vlm.generate([Sample("", (picture(3),), (about(3, ("\nis there a star ?", "")).turns[0],))], max_new_tokens=4)[0]
    assert reply.heat.shape == (2, 2)
    assert len(reply.looks) == len(reply.text.split()) + 1


def test_p_yes_is_yes_against_no_at_the_first_token() -> None:
    vlm, prompt = toy(), about(1)
    log = vlm.score([prompt], ["yes", "no"])[0].exp()
    assert probability_of_yes(vlm, prompt, "yes") == pytest.approx(float(log[0] / log.sum()), abs=1e-5)
    assert probability_of_yes(vlm, prompt, "No.") == probability_of_yes(vlm, prompt, "yes")
    assert probability_of_yes(vlm, prompt, "a red star") is None


def test_words_without_a_token_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert unknown_words(toy(), "is there a Zebra or a star ?") == ("Zebra", "or")
    main([str(run), "--image", str(run / "x.png"), "is there a zebra ?", "--out", str(run / "z.png"), "--places", "0", "--max-new-tokens", "1"])
    assert "'zebra'" in capsys.readouterr().err


@pytest.mark.parametrize(("model", "image", "question", "reason"), [
    ("nowhere", "x.png", "is there ?", "no model in"), ("", "none.png", "is there ?", "none.png does not exist"),
    ("", "x.png", "  ", "the question is empty"),
    ("", "bad.png", "is there ?", "is not a picture")])
def test_mistakes_are_one_line(run: Path, capsys: pytest.CaptureFixture[str], model: str, image: str, question: str, reason: str) -> None:
    (run / "bad.png").write_bytes(np.zeros(50, np.uint8).tobytes())
    assert main([str(run / model), "--image", str(run / image), question]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_a_missing_folder_for_the_overlay_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "--image", str(run / "x.png"), "is there a star ?", "--out", str(run / "no" / "o.png"), "--places", "0"]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.fixture(scope="module")
def clip(run: Path) -> Path:
    return write_bars(run / "c.mp4", 20, height=48, width=64)


def test_it_answers_about_a_clip_and_draws_its_frames(run: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(run), "--video", str(clip), "which star is there ?", "--frames", "4", "--max-new-tokens", "3"]
    assert main(given) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1] == "4 frames seen, at 0.08, 0.28, 0.48, 0.68 s"
    assert out[2] == f"{run / 'c.ask.png'}: frames of the clip, where the answer looked"
    assert Image.open(run / "c.ask.png").size == (4 * 192 + 3 * 8, 2 * 144 + 8)  # 64 x 48 px, three times as large, with gaps
    assert main([*given, "--sampling", "even", "--out", str(run / "even.png")]) == 0
    assert "at 0.00, 0.24, 0.48, 0.76 s" in capsys.readouterr().out


def test_the_answer_about_a_clip_is_what_generate_says(clip: Path) -> None:
    vlm, media = toy(), read_clip(clip, SegmentMid(5))
    reply = ask(vlm, media, "is there a star ?", max_new_tokens=4)
    assert reply.text == vlm.generate([Sample("", (media,), (Turn("<video>\nis there a star ?"),))], max_new_tokens=4)[0]
    assert reply.heats.shape == (5, 2, 2)


def test_a_model_without_places_answers_all_the_same(run: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vlm = toy()
    vlm = VLM(vlm.vision, Resampled(16, vlm.language.width), vlm.language).eval()
    assert ask(vlm, read_clip(clip, SegmentMid(3)), "is there a star ?", max_new_tokens=2).looks == ()
    assert strip(vlm, ask(vlm, read_clip(clip, SegmentMid(3)), "is there a star ?", max_new_tokens=2)).height == 144
    assert panels(vlm, ask(vlm, picture(0).frames[0], "is there a star ?", max_new_tokens=2), places=0).width == 384


class Resampled(MLP):
    """Its tokens have no place in the picture."""

    def out_grid(self, grid: tuple[int, int]) -> None:  # type: ignore[override]
        return None


@pytest.mark.parametrize("policy", [SegmentMid(7), Even(7), SegmentMid(1), Even(64)], ids=repr)
def test_frames_are_those_that_the_policy_names(clip: Path, policy: Sampling) -> None:
    media = read_clip(clip, policy)
    wanted = policy.among(20, 25)
    assert numbers(media.frames) == wanted
    assert media.times == pytest.approx([index / 25 for index in wanted])


def streamed(folder: Path) -> Path:
    """Bare H.264 without times."""
    return write_bars(folder / "bare.h264", 20, g="5", bf="2")


def begun_late(folder: Path) -> Path:
    """A clip whose first packets are gone, so that its first frames cannot be decoded."""
    return copied(write_bars(folder / "a.mp4", 40, g="12", bf="2"), folder / "late.mkv", first=6)


def trimmed(folder: Path) -> Path:
    """A clip whose edit list hides its first frames."""
    return copied(write_bars(folder / "a.mp4", 20, g="20", bf="2"), folder / "trimmed.mp4", shift=6)


@pytest.mark.parametrize(("write", "shown"), [(streamed, range(20)), (begun_late, range(11, 40)), (trimmed, range(6, 20))])
def test_frames_of_odd_clips_are_those_that_are_shown(write: Callable[[Path], Path], shown: range, tmp_path: Path) -> None:
    clip = write(tmp_path)
    for policy in (All(), SegmentMid(5), Even(2)):
        media = read_clip(clip, policy)
        wanted = policy.among(len(shown), 25)
        assert numbers(media.frames) == [shown[index] for index in wanted]
        assert media.times == pytest.approx([index / 25 for index in wanted])


def test_a_name_with_a_colon_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_bars(tmp_path / "12:30.mp4", frames=3).parent)
    assert numbers(read_clip(Path("12:30.mp4"), SegmentMid(16)).frames) == [0, 1, 2]


def test_what_is_made_from_a_frame_that_was_guessed_at_is_refused(tmp_path: Path) -> None:
    clip = without_the_rest_of_a_packet(write_bars(tmp_path / "a.mp4", 20, g="30", bf="0", height=96, width=320), tmp_path / "b.mp4")
    with pytest.raises(ValueError, match=r"b\.mp4 is damaged: the frame at 0\.600 s could not be decoded"):
        read_clip(clip, SegmentMid(2))


def test_a_turned_clip_is_upright(tmp_path: Path) -> None:
    turned = write_bars(tmp_path / "turned.mp4", 6, height=48, width=64, rotation=90)
    level = write_bars(tmp_path / "level.mp4", 6, height=48, width=64)
    assert np.array_equal(read_clip(turned, SegmentMid(3)).frames, np.rot90(read_clip(level, SegmentMid(3)).frames, axes=(1, 2)))


@pytest.mark.parametrize(("name", "reason"), [
    ("none.mp4", "none.mp4 does not exist"), ("text.mp4", "is not a clip, or is damaged"), ("empty.mp4", "is empty (0 bytes)"),
    ("cut.mp4", "holds no pictures"),
    ("tone.mp4", "holds no pictures, only audio"), ("end.mp4", "cut off: 19 of 20 frames are there")])
def test_broken_clips_are_one_line(run: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str) -> None:
    (run / "text.mp4").write_text("no clip")
    (run / "empty.mp4").write_bytes(b"")
    (run / "cut.mp4").write_bytes(write_bars(run / "whole.mp4", 20).read_bytes()[:2000])
    write_tone(run / "tone.mp4")
    front = copied(run / "whole.mp4", run / "front.mp4", movflags="faststart")
    (run / "end.mp4").write_bytes(front.read_bytes()[:-60])  # with the index in front, so that what is left opens
    assert main([str(run), "--video", str(run / name), "is there ?"]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_no_frames_and_two_media_are_refused(run: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "--video", str(clip), "is there ?", "--frames", "0"]) == 2
    assert "frames is a number of frames, at least 1; got 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(run), "--video", str(clip), "--image", str(run / "x.png"), "is there ?"])
