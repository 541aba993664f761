"""The study of mitigations: arms from files, every arm against the plain model, what cannot be done named, and a table that says what is certain."""
import json
from pathlib import Path
from typing import Any

import pytest

from eval.compare.__main__ import main as compare
from eval.study.__main__ import main
from eval.study.arms import FOLDER, arms
from eval.study.table import Column, certain, table
from tests.answering import saved

PAI = "# PAI, strong: looks more.\nreweight:\n  - {class_path: mm.reweight.PAI, init_args: {alpha: 3.0, first_layer: 0}}\n"
VCD = "# VCD: noise.\ndecoding: {class_path: mm.decoding.VCD, init_args: {beta: 0.0}}\n"
DEEP = "# VAR, deep: needs more layers than there are.\nreweight:\n  - {class_path: mm.reweight.VAR, init_args: {first_layer: 9}}\n"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("study")
    (home / "arms").mkdir()
    for name, text in (("pai", PAI), ("vcd", VCD), ("deep", DEEP)):
        (home / "arms" / f"{name}.yaml").write_text(text, encoding="utf-8")
    saved(home / "toy")
    given = [str(home / "toy"), "--out", str(home / "out"), "--folder", str(home / "arms"), "--size", "3", "--draws", "50"]
    assert main(given) == 0
    return home / "out"


def test_every_arm_is_held_against_the_plain_model_in_one_family(out: Path) -> None:
    found = json.loads((out / "toy.json").read_text())
    assert [run["name"] for run in found["runs"]] == ["plain", "PAI, strong", "VCD"]
    assert {each["benchmark"] for each in found["comparisons"]} == {"pope", "chair", "amber"}
    tests = [each for each in found["comparisons"] if each["is_primary"]]
    assert found["family"]["tests"] == len(tests) > 10
    assert all(each["p_holm"] is not None for each in tests)
    passes = [run["results"]["chair"]["cost"]["forwards_per_token"] for run in found["runs"]]
    assert passes[2] == pytest.approx(2.0)
    assert passes[:2] == pytest.approx([1.0, 1.0])


def test_an_arm_that_cannot_be_done_is_named_with_its_reason(out: Path) -> None:
    page = (out / "study.md").read_text()
    assert "not done: VAR, deep: VAR: first_layer is 9" in page
    assert page.count("| PAI, strong |") == page.count("| VCD |") == 1


def test_what_is_answered_is_not_asked_again(out: Path) -> None:
    before = json.loads((out / "toy" / "chair-vcd.json").read_text())["cost"]
    assert main([str(out.parent / "toy"), "--out", str(out), "--folder", str(out.parent / "arms"), "--size", "3", "--draws", "50"]) == 0
    assert json.loads((out / "toy" / "chair-vcd.json").read_text())["cost"] == before


def test_what_stops_the_plain_model_is_raised(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), "--folder", str(out.parent / "arms")]) == 2
    assert "no model in" in capsys.readouterr().err


def difference(value: float | None, verdict: str, run: str = "A") -> dict[str, Any]:
    first = {"value": 0.5}
    return {"benchmark": "pope", "metric": "random/accuracy", "run": run, "is_primary": True, "verdict": verdict, "p_holm": 0.01,
            "difference": {"first": first, "value": value, "low": -0.1, "high": 0.2}}


def test_the_table_marks_what_is_certain_and_nothing_else() -> None:
    cost = {"results": {"pope": {"cost": {"seconds": 2.0, "forwards_per_token": 1.5}}}}
    found = {"baseline": "plain", "runs": [{"name": "plain", **cost}, {"name": "A", **cost}, {"name": "B", **cost}, {"name": "C", **cost}],
             "comparisons": [difference(0.05, "better"), difference(-0.05, "not certain", "B"), difference(None, "not certain", "C")]}
    lines = table(found, (Column("pope", "random/accuracy", "POPE"),)).splitlines()
    assert lines[2] == "| plain | 50.0 | 1.50 | ×1.0 |"
    assert lines[3] == "| A | **+5.0 (−10.0 to +20.0)** | 1.50 | ×1.0 |"
    assert lines[4] == "| B | −5.0 (−10.0 to +20.0) | 1.50 | ×1.0 |"
    assert lines[5] == "| C | – | 1.50 | ×1.0 |"
    assert certain(found) == ["A: pope random/accuracy +0.050 [-0.100, +0.200], p 0.010 (better)"]


def test_shipped_arms_have_labels_and_a_missing_one_is_named() -> None:
    assert len({arm.label for arm in arms(FOLDER)}) == len(arms(FOLDER)) >= 12
    with pytest.raises(ValueError, match="holds no arm nonsense"):
        arms(FOLDER, ["nonsense"])


def test_a_file_without_a_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("reweight: []\n")
    with pytest.raises(ValueError, match="should begin with a comment"):
        arms(tmp_path)


def test_a_way_of_decoding_is_the_method_and_nothing_besides(out: Path) -> None:
    found = json.loads((out / "toy.json").read_text())
    of_vcd = next(each for each in found["differs"] if each["run"] == "VCD")
    assert [each["what"] for each in of_vcd["method"]] == ["lever"]
    assert of_vcd["besides"] == []


def test_a_page_shows_runs_that_lack_a_figure(out: Path, tmp_path: Path) -> None:
    """A search gives no log-probabilities, so no areas under curves."""
    (tmp_path / "arms").mkdir()
    opera = "# OPERA: searches.\ndecoding: {class_path: mm.decoding.OPERA, init_args: {beams: 2, candidates: 2}}\n"
    (tmp_path / "arms" / "opera.yaml").write_text(opera)
    assert main([str(out.parent / "toy"), "--out", str(out), "--folder", str(tmp_path / "arms"), "--size", "3", "--draws", "50"]) == 0
    toy = str(out / "toy")
    assert compare([toy, f"{toy}:vcd", f"{toy}:opera", "--out", str(tmp_path / "page"), "--draws", "50", "--items", "10"]) == 0
    assert "toy + opera" in (tmp_path / "page" / "compare.html").read_text()
