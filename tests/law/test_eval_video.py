"""Video benchmarks on tiny copies in their official layouts, with scripted models."""
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from eval.__main__ import Options, evaluate, main, parse
from eval.frame.benchmark import Item, Row
from eval.frame.choices import accuracy, mean_accuracy
from eval.frame.clips import ClipBenchmark
from eval.frame.intervals import Score, proportion
from eval.frame.layout import read_layout
from eval.frame.runner import Answer
from eval.mlvu import MLVU
from eval.mlvu import score as mlvu_score
from eval.mlvu_generation import MLVUGeneration
from eval.mvbench import MVBench
from eval.mvbench import score as mvbench_score
from eval.report.run import read_run
from eval.text.srt import at_frames, one_a_frame, read_srt
from eval.videomme import VideoMME, load, parquet
from mm.media.sampling import MVBench as MVBenchSampling
from mm.media.sampling import SegmentMid
from tests import layouts
from tests.clips import numbers


@dataclass
class Scripted:
    """Answers by rule, and keeps which frames it was shown."""

    rule: Callable[[Item], str]
    seen: dict[str, list[int]] = field(default_factory=dict)
    identity: Row = field(default_factory=lambda: {"name": "scripted"})
    lever: None = None
    config: Row = field(default_factory=dict)

    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        for item in items:
            (media,) = item.media()
            assert media.kind == "clip"
            assert media.times is not None
            self.seen[item.id] = numbers(media.frames)
        return [Answer(self.rule(item)) for item in items]


@pytest.fixture(scope="module")
def mvbench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layouts.mvbench(tmp_path_factory.mktemp("mvbench"))


@pytest.fixture(scope="module")
def mlvu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layouts.mlvu(tmp_path_factory.mktemp("mlvu"))


@pytest.fixture(scope="module")
def videomme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layouts.videomme(tmp_path_factory.mktemp("videomme"))


def options(out: Path, parser: str = "official", limit: int | None = None) -> Options:
    return Options(model="m", out=str(out), batch_size=4, parser=parser, limit=limit)  # type: ignore[arg-type]


# --- MVBench


def test_mvbench_reads_the_official_copy_and_means_over_tasks(mvbench: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: f"{item.row['label']}) {item.row['candidates'][0]}" if item.split != "Action Count" else "C) no")
    result = evaluate("mvbench", MVBench(str(mvbench), sampling=MVBenchSampling(4)), model, options(tmp_path))
    assert (result.n, result.unparsed, result.remarks) == (40, 0, [])
    assert result.scores["mean/accuracy"]["value"] == 19 / 20
    assert result.scores["Action Count/accuracy"] == {"value": 0.0, "low": 0.0, "high": pytest.approx(0.658, abs=1e-3), "n": 2}
    exported = json.loads((tmp_path / "mvbench.official.json").read_text())
    assert exported[0] == {"task_type": "Action Sequence", "video": "video/star/Charades_v1_480/action_sequence0.mp4",
                           "question": "Action Sequence 0?", "pred": "(A) sit", "gt": "(A) sit"}
    assert [filed.path.name for filed in read_run_of(tmp_path)] == ["mvbench.json"]


def read_run_of(out: Path) -> list[Path]:
    folder = out / "run"
    (folder / "eval").mkdir(parents=True)
    for path in out.glob("*.json*"):
        (folder / "eval" / path.name).write_bytes(path.read_bytes())
    run = read_run(folder)
    assert not run.problems
    return list(run.results)  # type: ignore[arg-type]


def test_mvbench_shows_what_lies_between_the_bounds(mvbench: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: "A")
    evaluate("mvbench", MVBench(str(mvbench), sampling=MVBenchSampling(4)), model, options(tmp_path))
    assert model.seen["Action Antonym/1"] == [6, 18, 30, 43]  # frames 0 to 49
    assert model.seen["Action Sequence/1"] == [28, 34, 40, 46]  # frames 25 to 49
    assert model.seen["Episodic Reasoning/1"] == [3, 4, 5, 5]  # pictures 3 to 6 of a folder at three a second that counts from 1
    assert min(model.seen["Episodic Reasoning/2"]) >= 3


def test_parts_of_one_clip_are_not_taken_for_each_other(mvbench: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    layouts.mvbench(copy)
    file = copy / "json/action_sequence.json"
    rows = json.loads(file.read_text())
    layouts.write_json(file, [{**rows[0], "question": "when?", "start": start, "end": start + 0.5} for start in (0, 1)])
    model = Scripted(lambda item: "A")
    evaluate("mvbench", MVBench(str(copy), tasks=["Action Sequence"], sampling=MVBenchSampling(2)), model, options(tmp_path / "out"))
    assert model.seen["Action Sequence/1"] != model.seen["Action Sequence/2"]


def test_other_folder_names_are_a_file(mvbench: Path, tmp_path: Path) -> None:
    layout = tmp_path / "mine.json"
    copy = layouts.mvbench(tmp_path / "segments", "mvbench_segments")
    assert len(MVBench(str(copy), layout="mvbench_segments").items()) == 40
    with pytest.raises(ValueError, match="14 of 40 clips cannot be used"):
        MVBench(str(mvbench), layout="mvbench_segments").items()
    layouts.write_json(layout, {"Mine": {"questions": "json/action_count.json", "clips": "video/perception/videos"}})
    assert [item.id for item in MVBench(str(mvbench), layout=str(layout)).items()] == ["Mine/1", "Mine/2"]
    layouts.write_json(layout, {"Mine": {"question": "json/action_count.json"}})
    with pytest.raises(ValueError, match="no layout"):
        MVBench(str(mvbench), layout=str(layout)).items()
    with pytest.raises(ValueError, match=r"no layout 'mvbenhc'.*mvbench"):
        MVBench(str(mvbench), layout="mvbenhc").items()
    with pytest.raises(ValueError, match="did you mean 'Action Count'"):
        MVBench(str(mvbench), tasks=["Action count"]).items()


def test_an_empty_answer_passes_for_every_option_in_mvbenchs_own_reader(mvbench: Path, tmp_path: Path) -> None:
    benchmark = MVBench(str(mvbench), sampling=MVBenchSampling(2))
    found = {parser: evaluate("mvbench", benchmark, Scripted(lambda item: ""), options(tmp_path, parser)) for parser in MVBench.parsers}
    assert {parser: result.scores["pooled/accuracy"]["value"] for parser, result in found.items()} == {
        "official": 1.0, "lmms_eval": None, "video_ccam": 1.0, "strict": 0.0}
    assert {result.unparsed for result in found.values()} == {40}
    assert "pass for more than one option" in found["official"].remarks[0]
    assert "left out of the accuracy" in found["lmms_eval"].remarks[0]


def test_prompts_are_those_of_their_owners(mvbench: Path) -> None:
    first = {prompt: MVBench(str(mvbench), prompt=prompt).items()[0] for prompt in ("official", "video_ccam", "lmms_eval")}  # type: ignore[arg-type]
    assert first["official"].question.startswith("<video>\nCarefully watch the video and pay attention to the cause and sequence of events")
    assert first["official"].question.endswith("Question: Action Sequence 0?\nOptions:\n(A) sit\n(B) run\n(C) eat\nOnly give the best option.")
    assert {prompt: item.prefix for prompt, item in first.items()} == {"official": "Best option:(", "video_ccam": "", "lmms_eval": ""}
    assert first["lmms_eval"].question == "<video>\nQuestion:Action Sequence 0?\nOption:\n(A) sit\n(B) run\n(C) eat\nOnly give the best option."


def test_an_answer_that_is_no_option_is_named(mvbench: Path, tmp_path: Path) -> None:
    copy = layouts.mvbench(tmp_path)
    file = copy / "json/state_change.json"
    rows = json.loads(file.read_text())
    layouts.write_json(file, [rows[0], {**rows[1], "answer": "fly"}])
    with pytest.raises(ValueError, match=r"state_change\.json, row 2: the answer 'fly' is none of the 3 candidates"):
        MVBench(str(copy)).items()
    layouts.write_json(file, [{key: value for key, value in rows[0].items() if key != "video"}])
    with pytest.raises(ValueError, match=r"state_change\.json, row 1: no video"):
        MVBench(str(copy)).items()
    layouts.write_json(file, rows)
    layouts.write_json(copy / "json/action_sequence.json", [{**rows[0], "start": "one", "end": 2}])
    with pytest.raises(ValueError, match="start: expected seconds, found 'one'"):
        MVBench(str(copy)).items()


# --- clips that cannot be read


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


# --- MLVU


def test_mlvu_means_over_tasks_and_reads_before_the_parenthesis(mlvu: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: f"{item.row['label']}) that" if item.split != "count" else f"{item.row['label']}.")
    results = {parser: evaluate("mlvu", MLVU(str(mlvu)), model, options(tmp_path, parser)) for parser in MLVU.parsers}
    assert results["official"].scores["m_avg"]["value"] == pytest.approx(6 / 7)  # "A." is nothing to the official reader
    assert results["official"].unparsed == 2
    assert {parser: results[parser].scores["m_avg"]["value"] for parser in ("lmms_eval", "video_ccam", "strict")} == {
        "lmms_eval": 1.0, "video_ccam": 1.0, "strict": 1.0}
    assert json.loads((tmp_path / "mlvu.official.json").read_text())[0] == {
        "pred": "A) that", "gt": "(A) one", "question": "topic_reasoning 0?", "question_type": "topic_reasoning",
        "video": "video/7_topic_reasoning/a.mp4"}
    item = MLVU(str(mlvu)).items()[0]
    assert item.prefix == "Best option:("
    assert item.question.startswith("<video>\nCarefully watch this video and pay attention to every detail.")


def test_m_avg_and_the_pooled_average_differ_where_tasks_do_in_size() -> None:
    rows = [{"task": task, "clip": f"{task}{i}", "choice": "A", "matched": True, "correct": correct, "counted": True}
            for task, size, correct in (("order", 9, True), ("count", 1, False)) for i in range(size)]
    scored = mlvu_score(rows)
    assert scored.scores["m_avg"].value == 0.5
    assert scored.scores["pooled/accuracy"].value == 0.9
    assert scored.remarks == ("M-Avg is over 2 tasks; MLVU has 7 with choices",)
    assert mvbench_score(rows).scores["mean/accuracy"].value == 0.5


def test_intervals_count_clips_and_have_width_where_all_is_right() -> None:
    def rows(clips: int, right: Callable[[int], bool]) -> list[Row]:
        return [{"clip": str(clip), "correct": right(clip), "counted": True} for clip in range(clips) for _ in range(3)]

    assert accuracy(rows(10, lambda clip: True)) == Score(1.0, pytest.approx(proportion(10, 10).low), 1.0, 30)  # type: ignore[arg-type]
    together = accuracy(rows(100, lambda clip: clip % 2 == 0))
    assert together.high - together.low > 1.5 * (proportion(150, 300).high - proportion(150, 300).low)
    assert accuracy(rows(1, lambda clip: True)[:1]) == proportion(1, 1)
    assert mean_accuracy({"a": rows(10, lambda clip: False), "b": rows(10, lambda clip: False)}).high == proportion(0, 10).high


def test_mlvu_generation_is_exported_for_a_judge_and_not_marked(mlvu: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: "a square moves right" if item.split == "summary" else "")
    result = evaluate("mlvu_generation", MLVUGeneration(str(mlvu)), model, options(tmp_path))
    assert {name: score["value"] for name, score in result.scores.items()} == {
        "subPlot/answered": 0.0, "subPlot/words": 0.0, "summary/answered": 1.0, "summary/words": 4.0}
    assert result.unparsed == 1
    assert "judge" in result.remarks[0]
    assert json.loads((tmp_path / "mlvu_generation.summary.official.json").read_text()) == [
        {"video_name": "a.mp4", "Q": "summary?", "A": "a square moves", "pred": "a square moves right"}]


# --- Video-MME


def video_mme(folder: Path, data: str = "rows.json", **given: object) -> VideoMME:
    return VideoMME(str(folder / data), str(folder / "video"), str(folder / "subtitle"), sampling=SegmentMid(4), **given)  # type: ignore[arg-type]


def test_videomme_scores_by_duration_with_and_without_subtitles(videomme: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: item.row["label"] if "subtitles are listed" in item.question or item.row["duration"] == "short" else "D")
    result = evaluate("videomme", video_mme(videomme, subtitles=["without", "frames"]), model, options(tmp_path))
    values = {name: score["value"] for name, score in result.scores.items()}
    assert values == {"without/short/accuracy": 1.0, "without/medium/accuracy": 0.0, "without/long/accuracy": 0.0,
                      "without/overall/accuracy": pytest.approx(1 / 3), "without/overall/answered": 1.0, "frames/short/accuracy": 1.0,
                      "frames/medium/accuracy": 1.0, "frames/long/accuracy": 0.0, "frames/overall/accuracy": pytest.approx(2 / 3),
                      "frames/overall/answered": 1.0}
    overall = result.scores["without/overall/accuracy"]
    assert (overall["low"], overall["high"]) == (0.0, 1.0)  # three videos, not nine answers
    assert result.remarks == ["1 videos have no subtitles and are asked without any: vid3abcdef"]
    exported = json.loads((tmp_path / "videomme.without.official.json").read_text())
    assert [video["duration_category"] for video in exported] == ["short", "medium", "long"]
    assert exported[1]["questions"][2] == {"question_id": "002-3", "task_type": "Counting Problem", "question": "medium 2?",
                                           "choices": ["A. one", "B. two", "C. three", "D. four"], "answer": "C", "response": "D"}


def test_videomme_reads_the_hubs_rows_and_the_official_form_alike(videomme: Path) -> None:
    assert load(videomme / "rows.json") == load(videomme / "nested.json")
    assert {row["file"] for row in load(videomme / "rows.json")} == {"vid1abcdef", "vid2abcdef", "vid3abcdef"}


def test_what_videommes_reader_cannot_read_raises_the_official_accuracy(videomme: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: item.row["label"] if item.row["duration"] == "short" else "no idea")
    found = {parser: evaluate("videomme", video_mme(videomme), model, options(tmp_path, parser)) for parser in VideoMME.parsers}
    assert {parser: result.scores["without/overall/accuracy"]["value"] for parser, result in found.items()} == {
        "official": 1.0, "lmms_eval": pytest.approx(1 / 3), "strict": pytest.approx(1 / 3)}
    assert found["official"].scores["without/overall/answered"]["value"] == pytest.approx(1 / 3)
    assert found["official"].scores["without/long/accuracy"]["value"] is None
    assert "silence raises it" in found["official"].remarks[0]
    assert {result.unparsed for result in found.values()} == {6}


def test_the_prompt_has_the_subtitles_of_the_frames_that_are_seen(videomme: Path) -> None:
    items = {item.id: item.question for item in video_mme(videomme, subtitles=["without", "frames", "video_ccam", "all"]).items()}
    asked = ("Select the best answer to the following multiple-choice question based on the video. Respond with only the letter (A, B, C, or D) of "
             "the correct option.\nshort 0?\nA. one\nB. two\nC. three\nD. four\nThe best answer is:")
    head = "<video>\nThis video's subtitles are listed below:\n"
    assert items["without/001-1"] == f"<video>\n{asked}"
    assert items["frames/001-1"] == f"{head}hello there\nsecond line of two\n{asked}"  # frames at .24, .72, 1.24 and 1.72 s, each line once
    assert items["video_ccam/001-1"] == f"{head}hello there\nhello there\nsecond line of two\nsecond line of two\n{asked}"
    assert items["all/001-1"] == f"{head}hello there\nsecond line of two\nnever seen\n{asked}"
    assert items["frames/003-1"].startswith("<video>\nSelect the best answer")


def test_subtitles_that_are_not_there_are_no_silent_choice(videomme: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the folder"):
        VideoMME(str(videomme / "rows.json"), str(videomme / "video"), subtitles=["frames"])
    with pytest.raises(ValueError, match="no subtitle file of any of the 3 videos"):
        VideoMME(str(videomme / "rows.json"), str(videomme / "video"), str(tmp_path), ["frames"]).items()


def test_srt_files_as_they_come(tmp_path: Path) -> None:
    file = tmp_path / "a.srt"
    file.write_bytes("\ufeff1\r\n00:00:01,000 --> 00:00:02,5\r\n<i>one</i> {\\an8}two\r\n\r\n\r\n2\r\n00:01:00.000 --> 01:00:00.250\r\n1999\r\n\r\n"
                     "3\r\n00:00:00,500 --> 00:00:01,200\r\nfirst\r\n\r\n4\r\n02:00:00,000 --> 02:00:01,000\r\n\r\n".encode())
    assert read_srt(file) == [(0.5, 1.2, "first"), (1.0, 2.5, "one two"), (60.0, 3600.25, "1999")]
    lines = read_srt(file)
    assert at_frames(lines, [0.1, 1.1, 1.15, 9.0]) == ["first", "one two"]
    assert one_a_frame(lines, [0.1, 1.1, 1.15, 9.0]) == ["first", "first"]  # at most one a frame, and again at the next
    file.write_text("1\n00:00:01,000 --> 00:00:02,000\n</i>3 < 4, and 5 > 2<font color=red>\n")
    assert read_srt(file) == [(1.0, 2.0, "3 < 4, and 5 > 2")]
    for nothing in ("", "\ufeff \n"):
        file.write_text(nothing, encoding="utf-8")
        assert read_srt(file) == []
    file.write_text("no times here")
    with pytest.raises(ValueError, match="no SubRip file"):
        read_srt(file)


def test_rows_that_are_not_video_mme_are_named(videomme: Path, tmp_path: Path) -> None:
    rows = json.loads((videomme / "rows.json").read_text())
    layouts.write_json(tmp_path / "a.json", [{**rows[0], "answer": "E"}])
    with pytest.raises(ValueError, match=r"record 1: .*found 4 options, 'E'"):
        load(tmp_path / "a.json")
    layouts.write_json(tmp_path / "a.json", [rows[0], {key: value for key, value in rows[1].items() if key != "options"}])
    with pytest.raises(ValueError, match="record 2: no options"):
        load(tmp_path / "a.json")


def test_rows_come_from_parquet_too(videomme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a stand-in for pyarrow, which tests do not need; the hub's file has the columns of rows.json."""
    library = ModuleType("pyarrow.parquet")
    library.read_table = lambda path: SimpleNamespace(to_pylist=lambda: json.loads((videomme / "rows.json").read_text()))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyarrow", ModuleType("pyarrow"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", library)
    assert load(tmp_path / "test-00000-of-00001.parquet") == load(videomme / "rows.json")


def test_parquet_without_its_library_is_one_clear_error(videomme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match="pyarrow is not installed; install the extra `parquet`"):
        parquet(videomme / "rows.parquet")


# --- the command line


def test_sampling_and_limits_are_options(mvbench: Path) -> None:
    given = ["--model", "m", "--mvbench.data", str(mvbench), "--mvbench.sampling", "mm.media.SegmentMid", "--mvbench.sampling.frames", "3",
             "--mvbench.limits.max_side", "64", "--mvbench.tasks", '["State Change"]']
    _, found = parse(["mvbench"], given)
    settings = found["mvbench"].settings()
    assert settings["sampling"] == {"class_path": "mm.media.SegmentMid", "init_args": {"frames": 3}}
    assert settings["limits"]["max_side"] == 64
    assert json.loads(json.dumps(settings))["tasks"] == ["State Change"]
    assert isinstance(found["mvbench"], ClipBenchmark)
    (media,) = found["mvbench"].items()[0].media()
    assert media.frames.shape == (3, 26, 64, 3)


def test_shuffling_keeps_the_frames_and_not_their_order(mvbench: Path) -> None:
    from eval.frame.views import shuffled

    item = MVBench(str(mvbench), sampling=MVBenchSampling(16), tasks=["Action Count"]).items()[0]
    (before,), (after,) = item.media(), shuffled(item).media()
    assert numbers(before.frames) == sorted(numbers(after.frames)) != numbers(after.frames)
    assert before.times == after.times
    assert np.array_equal(after.frames, shuffled(item).media()[0].frames)


def test_a_copy_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["mvbench", "--model", str(tmp_path), "--mvbench.data", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
