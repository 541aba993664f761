"""A policy takes the frames that its source takes, in order, within bounds; a sample says when each of them was."""
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from PIL import Image

from data.llava import Conversations
from mm.media.sampling import All, Even, LLaVAVideo, MVBench, RateThinned, RateTruncated, Sampling, SegmentJitter, SegmentMid, Timeline
from mm.media.video import load_video
from mm.sample import BadSample, Media
from mm.training.loader import Batches, Draw, Loader, Once
from mm.training.randomness import seed_generators
from tests.clips import bars, numbers, write_bars
from tests.golden import load
from tests.vlms import toy

GOLDEN = load("projectors", "video_sampling")


def steady(count: int, fps: float = 25.0, first: int = 0) -> Timeline:
    return Timeline(np.arange(count) / fps, fps, first)


@pytest.mark.parametrize("case", GOLDEN.uniform, ids=str)
def test_middles_of_segments_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    assert SegmentMid(case["num_frames"])(steady(case["total"])) == case["idx"]


@pytest.mark.parametrize("case", GOLDEN.fps, ids=str)
def test_frames_at_a_rate_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    cap = None if case["max_num_frames"] < 0 else case["max_num_frames"]
    assert RateTruncated(case["output_fps"], cap)(steady(case["total"], case["input_fps"])) == case["idx"]


@pytest.mark.parametrize("case", GOLDEN.mvbench, ids=str)
def test_frames_of_mvbench_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    clip = steady(case["max_frame"] - case["first_idx"] + 1, case["fps"], case["first_idx"])
    assert [index + clip.first for index in MVBench(case["num_frames"])(clip, *(case["bound"] or (None, None)))] == case["idx"]


def test_llava_video_strides_up_to_its_cap_and_spreads_beyond_it() -> None:
    assert LLaVAVideo(1.0, 64)(steady(100, 24.6)) == [0, 25, 50, 75]
    assert LLaVAVideo(1.0, 3)(steady(100, 24.6)) == [0, 49, 99]
    assert LLaVAVideo(30.0, 64)(steady(5, 10)) == [0, 1, 2, 3, 4]  # a stride of 0 in the release


def test_thinning_sees_the_end_of_a_clip_and_truncating_does_not() -> None:
    assert RateThinned(5, 4)(steady(100)) == [0, 30, 60, 95]
    assert RateTruncated(5, 4)(steady(100)) == [0, 5, 10, 15]
    assert RateThinned(50, 200)(steady(9)) == list(range(9))  # a clip slower than the rate gives each frame once


@pytest.mark.parametrize("policy", [All(), Even(1), Even(2), Even(8), SegmentMid(8), SegmentJitter(8), LLaVAVideo(5, 8), RateThinned(5, 8)], ids=repr)
@pytest.mark.parametrize("count", [1, 2, 7, 8, 100])
def test_chosen_frames_ascend_without_repeating_and_within_bounds(policy: Sampling, count: int) -> None:
    chosen = policy(steady(count))
    assert sorted(set(chosen)) == chosen
    assert 0 <= chosen[0] <= chosen[-1] < count
    inner = policy(steady(100), 1.0, 3.0)
    assert 25 <= inner[0] <= inner[-1] < 75


def test_jitter_draws_one_frame_of_each_segment_and_all_of_them_in_time() -> None:
    torch.manual_seed(0)
    drawn = np.array([SegmentJitter(5)(steady(23)) for _ in range(400)])
    borders = torch.linspace(0, 23, 6, dtype=torch.int64).tolist()
    for column, low, high in zip(drawn.T, borders, borders[1:], strict=False):
        assert set(column) == set(range(low, high))


def test_bounds_know_irregular_times() -> None:
    clip = Timeline(np.array([0.0, 0.1, 2.0, 2.1, 5.0]), 1.0)
    assert clip.within(0.05, 2.05) == (0, 2)
    assert clip.within(1.0, 1.5) == (1, 1)  # one frame stays on screen all the time
    assert clip.within(5.5, None) == (4, 4)
    with pytest.raises(ValueError, match=r"the clip ends at 6\.000 s"):
        clip.within(6.0, 7.0)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Even(0), "Even: frames is a number of frames, at least 1; got 0"), (lambda: RateThinned(cap=-1), "cap is a number of frames"),
    (lambda: LLaVAVideo(0.0), "LLaVAVideo: fps is a number of frames a second, above 0; got 0")])
def test_a_senseless_policy_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def write_record(folder: Path, **record: object) -> str:
    write_bars(folder / "a.mp4")
    (folder / "b.mp4").write_bytes((folder / "a.mp4").read_bytes())
    turns = [{"from": "human", "value": "what do you see ?"}, {"from": "gpt", "value": "a star"}]
    (folder / "data.json").write_text(json.dumps([{"id": "0", "video": "a.mp4", "conversations": turns} | record]))
    return str(folder / "data.json")


def test_a_sample_says_when_its_frames_were(tmp_path: Path) -> None:
    media = Conversations(write_record(tmp_path, start=1, end=2), sampling=SegmentMid(5))[0].media[0]
    assert numbers(media.frames) == [27, 32, 37, 42, 47]
    assert media.times == pytest.approx([27 / 25, 32 / 25, 37 / 25, 42 / 25, 47 / 25])
    with pytest.raises(ValueError, match="a clip of 2 frames comes with 1 times"):
        Media(np.zeros((2, 8, 8, 3), np.uint8), "clip", (0.0,))


def test_parts_of_messages_have_bounds_of_their_own(tmp_path: Path) -> None:
    parts = [{"type": "video", "video": "a.mp4", "start": 1, "end": 1.04}, {"type": "video", "video": "b.mp4", "video_start": 2, "video_end": 2.04},
             {"type": "text", "text": "which is first ?"}]
    write_record(tmp_path)
    (tmp_path / "messages.jsonl").write_text(json.dumps({"messages": [
        {"role": "user", "content": parts}, {"role": "assistant", "content": "a star"}]}))
    assert [numbers(media.frames) for media in Conversations(str(tmp_path / "messages.jsonl"))[0].media] == [[25], [50]]


@pytest.mark.parametrize(("record", "message"), [
    ({"start": 1, "video": ["a.mp4", "b.mp4"]}, "bound its only clip, and it has 2"), ({"start": "1"}, "'start' is '1', expected a number"),
    ({"start": 3}, r"a\.mp4: frames from 3 s on were asked for, but the clip ends at 2\.400 s")])
def test_bounds_that_fit_no_clip_are_refused(record: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadSample, match=message):
        Conversations(write_record(tmp_path, **record))[0]


def test_a_policy_is_named_in_yaml(tmp_path: Path) -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(Conversations, "train")
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"class_path": "data.llava.Conversations", "init_args": {
        "file": write_record(tmp_path), "sampling": {"class_path": "mm.media.LLaVAVideo", "init_args": {"fps": 5, "cap": 8}}}}))
    built = parser.instantiate_classes(parser.parse_args([f"--train={config}"])).train
    assert numbers(built[0].media[0].frames) == [0, 8, 16, 25, 33, 42, 50, 59]


def test_jitter_differs_between_passes_and_not_between_runs(tmp_path: Path) -> None:
    """What the loader draws for a place in the run depends on the seed and the place alone."""
    data = Conversations(write_record(tmp_path), sampling=SegmentJitter(6))
    processor = toy().processor
    batches = Batches(data, processor, seed=3, on_error="raise")
    pixels = [batches[Draw((0,), (place,), 0)].batch.pixels for place in (0, 1, 0)]  # type: ignore[union-attr]
    assert not torch.equal(pixels[0], pixels[1])
    assert torch.equal(pixels[0], pixels[2])
    seed_generators(3, 0, 0)
    assert torch.equal(processor.encode(data[0]).pixels, pixels[0])


def test_a_folder_of_frames_is_a_clip_of_a_record(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for number in range(1, 31):
        Image.fromarray(bars(number, 48, 160)).save(tmp_path / "frames" / f"{number:05d}.png")
    file = write_record(tmp_path, video="frames", start=0.0, end=3.1)
    media = Conversations(file, sampling=MVBench(8), folder_fps=3)[0].media[0]
    assert numbers(media.frames) == [1, 2, 3, 4, 5, 6, 7, 8]  # as recorded: the release counts such files from 1
    assert media.times == pytest.approx([index / 3 for index in range(8)])
    with pytest.raises(BadSample, match="folder of frames, whose rate is None"):
        Conversations(file)[0]


@pytest.mark.parametrize(("first", "step"), [(0, 1), (120, 1), (10, 10)])
def test_bounds_in_a_folder_that_counts_from_elsewhere_are_seconds_of_it(first: int, step: int, tmp_path: Path) -> None:
    """As where the frames of a part of a film were kept, or every tenth."""
    for number in range(12):
        Image.fromarray(bars(number, 48, 160)).save(tmp_path / f"{first + step * number:05d}.png")
    found = load_video(tmp_path, MVBench(4), start=1.0, end=3.0, folder_fps=3)
    assert numbers(found.pixels) == [3, 5, 6, 7]
    assert found.times == pytest.approx([1, 5 / 3, 2, 7 / 3])


def test_a_broken_clip_is_a_counted_skip_or_stops_the_run(tmp_path: Path) -> None:
    record = json.loads(Path(write_record(tmp_path)).read_text())[0]
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:2000])
    (tmp_path / "data.json").write_text(json.dumps([record, record | {"id": "1", "video": "b.mp4"}]))
    data = Conversations(str(tmp_path / "data.json"), sampling=SegmentMid(2))
    drawn = next(iter(Loader(data, toy().processor, Once(2, 2), 0, 0, "skip")))
    assert drawn.batch.ids == ("0", "0")
    assert len(drawn.skipped) == 1
    assert "b.mp4 is not a clip, or is damaged" in drawn.skipped[0]
    with pytest.raises(BadSample, match=r"sample '1': .*b\.mp4 is not a clip, or is damaged"):
        list(Loader(data, toy().processor, Once(2, 2), 0, 0, "raise"))
