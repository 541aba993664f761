"""The page of a run's edits: whatever there is becomes one file that needs nothing else, and whatever is missing is named with its command."""
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from data.world.edits import Edit, Edits
from data.world.sampling import World
from data.world.scene import Scene
from eval.edits.report.__main__ import main
from eval.edits.report.cards import statuses, verdicts
from eval.edits.world import Arm, WorldBenchmark, pairs
from tests.edits import Oracle, perfect

DATA = Edits("test", 60, world=World(objects=(2, 2), visibility=(1.0, 1.0), grain=0.0))
Said = pytest.CaptureFixture[str]


def moved(edit: Edit) -> Scene:
    return replace(edit.after, objects=tuple(replace(thing, cell=(thing.cell + 8) % 16) for thing in edit.after.objects))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose edits are perfect under two recipes, and go astray without control."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    asked = {"colour": pairs("colour", 3, DATA), "shape": pairs("shape", 2, DATA)}
    oracle = Oracle()
    editor = perfect(oracle, [*asked["colour"], *asked["shape"]], moved)
    arms = [Arm(name, {"name": name, "edits": ["mm.diffusion.Replace"]}, editor) for name in ("cross-2", "cross-8")]
    out = folder / "pipeline/eval/world"
    WorldBenchmark(asked, oracle, {"split": "test", "size": 3}, {"model": "fake"}, out).run(arms, lambda: 0.0)  # type: ignore[arg-type]
    (folder / "config.yaml").write_text("model: {note: <b>&amp;}\n")
    rows = [{"step": 20 * i, "samples": 320 * i, "loss": 1 / i, "samples/s": 40.0, "cpu_seconds": 4.0 * i} for i in range(1, 30)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"step": 580, "val/loss": 0.1}]))
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    assert main([str(run)]) == 0
    return (run / "report.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(page: str) -> None:
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "default-src 'none'" in page
    for way in ("@import", "url(", "http://", "https://", "<link"):
        assert way not in page, way


def test_the_page_shows_every_part(page: str, run: Path) -> None:
    for part in ("Colour swaps: 100\u202f% recognised, the other object kept in 100\u202f%, against 100\u202f% and 0\u202f% without control",
                 "Shape swaps, 2 pairs", "target IoU, % against edits recognised", "better ↘",
                 'class="curve"', "mean squared error",
                 "&lt;b&gt;&amp;amp;", "transformers",
                 f"--model {run}/pipeline --recipes configs/edit/table/cross-2.yaml configs/edit/table/cross-8.yaml --size 3 --kinds [colour]"):
        assert part in page, part
    for tag in ("div", "section", "figure", "table", "tr", "p", "svg", "dl", "span", "article", "select"):
        assert len(re.findall(rf"<{tag}[\s>]", page)) == page.count(f"</{tag}>"), tag


def test_each_pair_is_a_card_with_a_take_a_recipe(page: str) -> None:
    assert page.count('<article class="edit"') == 5
    takes = re.findall(r'<div class="own take" data-recipe="([^"]+)" data-status="right"( data-best| hidden)', page)
    assert takes == [("cross-2", " data-best"), ("cross-8", " hidden")] * 5
    assert page.count("data:image/png") == 5 * 2 + 10 * 2  # source and no control; edited and mask
    assert page.count("data:image/jpeg") == 10 * 2  # both words


@pytest.mark.parametrize(("row", "status", "said"), [
    ({"source_right": False}, "unjudged", []),
    ({"source_right": True, "edit_recognised": True, "other_kept": 1.0, "target_iou": 0.5}, "right", [True, True]),
    ({"source_right": True, "edit_recognised": False, "other_kept": 0.0, "target_iou": 0.0}, "missed lost", [False, False]),
    ({"source_right": True, "edit_recognised": True, "other_kept": None, "target_iou": None}, "right", [True]),
], ids=["unjudged", "right", "wrong", "alone"])
def test_verdicts_are_the_recogniser_s(row: dict[str, object], status: str, said: list[bool]) -> None:
    assert statuses(row) == status
    assert [each.is_good for each in verdicts(row)] == said


def test_what_is_missing_is_named_with_its_command(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 20, "loss": 1.0}\n')
    (tmp_path / "pipeline/eval/world/colour").mkdir(parents=True)
    (tmp_path / "pipeline/eval/world/colour/swap.json").write_text("{}")
    assert main([str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for lack in ("No colour swaps yet.", "No shape swaps yet.", f"eval.edits world --model {tmp_path}/pipeline", "--kinds [shape]",
                 "No config.yaml.", "swap.json is no result of eval.edits"):
        assert lack in page, lack
    capsys.readouterr()
    (tmp_path / "empty").mkdir()
    for folder, said in (("nowhere", "there is no run directory"), ("empty", "so there is nothing to report; train with python train.py fit "
                                                                                     "--config")):
        assert main([str(tmp_path / folder)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert said in error
    assert main([str(tmp_path), "--sheet", str(tmp_path / "sheet.png")]) == 2
    assert "no edit that is right" in capsys.readouterr().err


def test_a_picture_that_is_gone_is_left_out(run: Path, page: str) -> None:
    gone = next((run / "pipeline/eval/world/colour/cross-8").rglob("edited.png"))
    content = gone.read_bytes()
    gone.unlink()
    try:
        assert main([str(run), "--out", str(run / "less.html")]) == 0
    finally:
        gone.write_bytes(content)
    assert (run / "less.html").read_text().count('<span class="empty">') == page.count('<span class="empty">') + 2  # the picture, and a map over it


def test_a_sheet_shows_two_edits_of_each_kind(run: Path) -> None:
    assert main([str(run), "--sheet", str(run / "sheet.png")]) == 0
    assert Image.open(run / "sheet.png").size == (676, 30 + 4 * 206)
