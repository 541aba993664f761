"""Clips of a benchmark that are missing or damaged are counted and named, and left out only where that was asked for."""
import json
from pathlib import Path

import pytest

from eval.__main__ import evaluate
from eval.frame.layout import read_layout
from eval.mvbench import MVBench
from mm.media.sampling import MVBench as MVBenchSampling
from tests import layouts
from tests.clip_benchmarks import Scripted, options


def damaged(folder: Path) -> Path:
    """A copy with one clip missing and one cut off."""
    copy = layouts.mvbench(folder)
    clips = copy / "video/perception/videos"
    (clips / "action_count0.mp4").unlink()
    (clips / "state_change1.mp4").write_bytes((clips / "state_change1.mp4").read_bytes()[:900])
    return copy


def test_missing_clips_are_counted_and_named_before_anything_is_answered(tmp_path: Path) -> None:
    model = Scripted(lambda item: "A")
    with pytest.raises(ValueError, match=r"1 of 40 clips cannot be used: video/perception/videos/action_count0\.mp4\. .*does not exist"):
        evaluate("mvbench", MVBench(str(damaged(tmp_path / "copy"))), model, options(tmp_path))
    assert not model.seen


def test_a_damaged_clip_stops_the_run_by_name_and_the_answers_so_far_stay(tmp_path: Path) -> None:
    copy = damaged(tmp_path / "copy")
    layouts.write_clip(copy / "video/perception/videos/action_count0.mp4")
    benchmark, model = MVBench(str(copy), sampling=MVBenchSampling(2)), Scripted(lambda item: "A")
    with pytest.raises(ValueError, match=r"state_change1\.mp4"):
        evaluate("mvbench", benchmark, model, options(tmp_path))
    before = len(model.seen)
    assert before > 10
    layouts.write_clip(copy / "video/perception/videos/state_change1.mp4")
    model.seen.clear()
    assert evaluate("mvbench", benchmark, model, options(tmp_path)).n == 40
    assert len(model.seen) < 40


def test_unusable_clips_may_be_left_out_and_the_result_says_which(tmp_path: Path) -> None:
    benchmark = MVBench(str(damaged(tmp_path / "copy")), sampling=MVBenchSampling(2), unusable="leave_out")
    result = evaluate("mvbench", benchmark, Scripted(lambda item: "A"), options(tmp_path))
    assert result.n == 38
    assert result.settings["left_out"] == ["video/perception/videos/action_count0.mp4", "video/perception/videos/state_change1.mp4"]
    assert result.remarks[-1].startswith("2 clips could not be read")
    assert "action_count0.mp4 does not exist" in result.remarks[-1]
    with pytest.raises(ValueError, match="40 of 40 clips cannot be used"):
        MVBench(str(elsewhere(tmp_path)), unusable="leave_out").items()


def test_a_part_behind_the_end_of_its_clip_is_left_out_alone(tmp_path: Path) -> None:
    copy = layouts.mvbench(tmp_path / "copy")
    file = copy / "json/action_sequence.json"
    rows = json.loads(file.read_text())
    layouts.write_json(file, [{**rows[0], "start": start, "end": start + 1} for start in (0, 7)])
    benchmark = MVBench(str(copy), tasks=["Action Sequence"], sampling=MVBenchSampling(2), unusable="leave_out")
    result = evaluate("mvbench", benchmark, Scripted(lambda item: "A"), options(tmp_path))
    assert result.n == 1
    assert result.settings["left_out"] == ["video/star/Charades_v1_480/action_sequence0.mp4#7.0-8.0"]
    assert "action_sequence0.mp4: frames from 7.0 s on were asked for, but the clip ends at 2.000 s" in result.remarks[-1]


def elsewhere(folder: Path) -> Path:
    """A copy with its questions and none of its clips."""
    copy = folder / "bare"
    for place in read_layout("mvbench").values():
        layouts.write_json(copy / place.questions, json.loads((folder / "copy" / place.questions).read_text()))
    return copy
