"""The report: whatever a run holds becomes one file that needs nothing else, and whatever it lacks is named with the command that makes it."""
import json
import re
from pathlib import Path

import pytest
import torch

from data.world import WORDS
from eval.__main__ import main as evaluate
from eval.frame.calibration import p_yes
from eval.report.__main__ import main
from eval.report.chart import Line, line_chart, series, smoothed, ticks
from eval.report.gallery import content, examples, false_alarms, marked, worst_captions
from eval.report.numbers import compact, count, duration, interval, percent
from eval.report.run import read_run
from eval.report.scores import verdict
from mm.language import Fresh, WordLevel
from mm.models import VLM
from mm.streams import MLP
from mm.vision import ConvViT


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an untrained model with every kind of file, evaluated on a few pictures."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "toy"
    vision = ConvViT(image_size=16, width=16, depth=1, heads=2)
    config = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    VLM(vision, MLP(16, 32), Fresh(config, WordLevel(list(WORDS)))).save(folder / "model")
    (folder / "config.yaml").write_text("model: {note: <b>&amp;}\n")
    rows = [{"step": 20 * i, "samples": 640 * i, "loss": 3 / i, "accuracy": 1 - 1 / i, "samples/s": 50.0, "seconds": 9.0 * i, "cpu_seconds": 8.0 * i,
             "pad": 0.1, "wait": 0.01} for i in range(1, 30)] + [{"step": 300, "val/loss": 0.5, "val/accuracy": 0.7}, {"step": 580, "val/loss": 0.4}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 58')
    few = ["--model", str(folder), "--limit", "3"]
    sizes = ["--pope.size", "6", "--chair.size", "6", "--skills.size", "6", "--chair.max_new_tokens", "12"]
    assert evaluate(["pope", "chair", "skills", *few, *sizes]) == 0
    assert evaluate(["pope", *few, "--pope.size", "6", "--view", "blind"]) == 0
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    assert main([str(run), "--places", "2"]) == 0
    return (run / "report.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(page: str) -> None:
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_shows_every_part(page: str) -> None:
    for part in ("Where the answer looked", "adversarial", "black picture", "CHAIR_i", "attribute", "nats a labelled token", "How this was made",
                 "&lt;b&gt;&amp;amp;", "python -m eval pope --model", "transformers", "truth", "✗ wrong", "data:image/jpeg"):
        assert part in page, part


def test_the_page_is_well_formed(page: str) -> None:
    for tag in ("div", "section", "figure", "table", "tr", "p", "svg", "dl", "span"):
        assert len(re.findall(rf"<{tag}[\s>]", page)) == page.count(f"</{tag}>"), tag


def test_the_missing_baseline_is_named_with_its_command(page: str, run: Path) -> None:
    assert f"No context-only baseline yet. <code>python -m eval pope --model {run} --view context</code>" in page
    assert "No blind baseline" not in page


def test_a_part_of_the_benchmark_is_said_to_be_one(page: str) -> None:
    assert "Of the first 3 pictures only" in page


def test_a_bare_run_still_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 20, "loss": 1.0}\n')
    assert main([str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for lack in ("No POPE result yet", "No CHAIR result yet", "No config.yaml", "No pictures of where it looked"):
        assert lack in page


def test_a_damaged_result_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 20, "loss": 1.0}\n')
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "pope.json").write_text("{")
    assert "pope.json is not a result file" in read_run(tmp_path).problems[0]
    assert main([str(tmp_path)]) == 0
    assert "pope.json is not a result file" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("make", "reason"), [(False, "there is no run directory"), (True, "nothing to report")])
def test_no_run_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], make: bool, reason: str) -> None:
    folder = tmp_path / "gone"
    if make:
        folder.mkdir()
    assert main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


# --- which answers


def row(picture: str, label: str, prediction: str, kind: str = "existence", yes: float = 0.5) -> dict[str, object]:
    return {"id": picture, "picture": picture, "kind": kind, "split": "adversarial", "label": label, "prediction": prediction,
            "correct": label == prediction, "logp": {"yes": yes, "no": 0.0}}


def test_examples_are_the_first_of_each_kind_about_different_pictures() -> None:
    rows = [row("a", "no", "no"), row("b", "yes", "yes"), row("b", "no", "yes"), row("c", "no", "yes"), row("d", "yes", "no"),
            row("b", "yes", "yes", "number"), row("e", "no", "no", "number")]
    assert [found["picture"] for found in examples(rows, ["existence", "number"], "kind")] == ["b", "a", "c", "d", "e"]


def test_the_surest_false_yes_comes_first_and_once_a_picture() -> None:
    rows = [row("a", "no", "yes", yes=1.0), row("b", "no", "yes", yes=3.0), row("b", "no", "yes", yes=2.0), row("c", "yes", "yes", yes=9.0)]
    assert [found["picture"] for found in false_alarms(rows, 5)] == ["b", "a"]
    assert p_yes(rows[0]["logp"]) == pytest.approx(1 / (1 + torch.tensor(-1.0).exp().item()))


def test_the_worst_caption_has_most_words_for_nothing() -> None:
    rows = [{"hallucinated": [["star", "star"]], "chair_i": 1.0, "name": 1}, {"hallucinated": [], "chair_i": 0.0, "name": 2},
            {"hallucinated": [["star", "star"], ["ring", "ring"]], "chair_i": 0.5, "name": 3}]
    assert [found["name"] for found in worst_captions(rows, 2)] == [3, 1]


def test_wrong_words_are_marked_whole_and_escaped() -> None:
    assert marked("a star , two stars & a starfish", ["star"]) == "a <mark>star</mark> , two <mark>stars</mark> &amp; a starfish"
    assert marked("<b>", []) == "&lt;b&gt;"


def test_what_is_in_a_picture_of_the_world_is_known_from_its_name() -> None:
    assert re.fullmatch(r"an? \w+ \w+(, an? \w+ \w+)*", content("scene-test-0-3"))
    assert content("COCO_val2014_000000310196.jpg") == ""


# --- numbers and charts


def filed(**scores: tuple[float, float, float]) -> object:
    class Named:
        class result:
            scores = {}  # noqa: RUF012

    Named.result.scores = {name.replace("_", "/"): {"value": v, "low": lo, "high": hi, "n": 9} for name, (v, lo, hi) in scores.items()}
    return Named


@pytest.mark.parametrize(("pope", "context", "begins"), [
    (None, None, "Not evaluated"), ({"random_accuracy": (0.52, 0.49, 0.55)}, None, "It does not see yet"),
    ({"random_accuracy": (0.9, 0.88, 0.92)}, {"random_accuracy": (0.88, 0.86, 0.9)}, "It guesses more than it sees"),
    ({"random_accuracy": (0.9, 0.88, 0.92), "adversarial_accuracy": (0.8, 0.78, 0.82)}, None, "It sees, and it makes things up"),
    ({"random_accuracy": (0.9, 0.88, 0.92), "adversarial_accuracy": (0.89, 0.87, 0.91)}, None, "It sees, and habit does not mislead it")])
def test_the_verdict_says_no_more_than_the_intervals(pope: dict | None, context: dict | None, begins: str) -> None:
    made = [None if scores is None else filed(**scores) for scores in (pope, context)]
    assert verdict(made[0], made[1], None).startswith(begins)  # type: ignore[arg-type]


def test_numbers_have_one_format_a_kind() -> None:
    assert percent(0.8841) == "88.4\u202f%"
    assert percent(None) == percent(float("nan")) == "–"
    assert interval({"value": 0.5, "low": 0.4114, "high": 0.6}) == "41.1–60.0"
    assert count(1980) == "1,980"
    assert [duration(seconds) for seconds in (45, 680, 11_100)] == ["45 s", "11 min 20 s", "3 h 05 min"]
    assert [compact(value) for value in (0.25, 1.0, 2000, 1.5e6)] == ["0.25", "1", "2k", "1.5M"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.31, 0.92), (0, 1600), (2.5, 2.5), (-3, 4e-3), (0, 1e-7)])
def test_ticks_are_few_and_span_the_values(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high - 1e-9
    assert 2 <= len(found) <= 8


def test_a_chart_leaves_out_what_is_not_finite_and_needs_two_points() -> None:
    points = series([{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}, {"step": 3, "loss": float("nan")}, {"step": 4, "loss": 1.0}], "loss")
    assert points == [(1, 2), (4, 1)]
    assert smoothed(points, 2) == [(1, 2), (4, 1.5)]
    assert "<polyline" in line_chart("Loss", "nats", [Line("training", points)])
    assert line_chart("Loss", "nats", [Line("training", points[:1])]) == ""
