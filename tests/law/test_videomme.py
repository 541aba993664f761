"""Video-MME on a tiny copy in its official layout, with scripted models: durations, subtitles, and the forms in which its questions come."""
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from eval.__main__ import evaluate
from eval.text.srt import at_frames, one_a_frame, read_srt
from eval.videomme import VideoMME, load, parquet
from mm.media.sampling import SegmentMid
from tests import layouts
from tests.clip_benchmarks import Scripted, options


@pytest.fixture(scope="module")
def videomme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layouts.videomme(tmp_path_factory.mktemp("videomme"))


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
