"""MLVU on a tiny copy in its official layout, with scripted models; and averages over tasks, with intervals that count clips."""
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from eval.__main__ import evaluate
from eval.frame.benchmark import Row
from eval.frame.choices import accuracy, mean_accuracy
from eval.frame.intervals import Score, proportion
from eval.mlvu import MLVU
from eval.mlvu import score as mlvu_score
from eval.mlvu_generation import MLVUGeneration
from eval.mvbench import score as mvbench_score
from tests import layouts
from tests.clip_benchmarks import Scripted, options


@pytest.fixture(scope="module")
def mlvu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layouts.mlvu(tmp_path_factory.mktemp("mlvu"))


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
