"""MVBench on a tiny copy in its official layout, with scripted models."""
import json
from pathlib import Path

import numpy as np
import pytest

from eval.__main__ import evaluate, main, parse
from eval.frame.clips import ClipBenchmark
from eval.mvbench import MVBench
from eval.report.run import read_run
from mm.media.sampling import MVBench as MVBenchSampling
from tests import layouts
from tests.clip_benchmarks import Scripted, options
from tests.clips import numbers


@pytest.fixture(scope="module")
def mvbench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layouts.mvbench(tmp_path_factory.mktemp("mvbench"))


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
