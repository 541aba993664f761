"""python -m eval with a model on disk: files that say what was done, views, weights that changed, and clips."""
import json
from pathlib import Path

import pytest
import torch

from eval.__main__ import main
from eval.frame.result import Result, untimed
from eval.frame.weights import fingerprint
from mm.models import VLM
from tests import layouts
from tests.answering import saved
from tests.vlms import toy


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("run"))


def test_the_command_writes_what_it_did_and_does_it_once(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lever = tmp_path / "causal.yaml"
    lever.write_text("mask: mm.masks.Causal\n")
    command = ["pope", "chair", "--model", str(directory), "--limit", "2", "--pope.size", "9", "--chair.size", "9", "--lever", str(lever)]
    assert main(command) == 0
    assert "unparsed" in capsys.readouterr().out
    files = {path.name: path.read_bytes() for path in (directory / "eval").iterdir()}
    assert {"pope-causal-limit2.json", "chair-causal-limit2.json", "chair-causal-limit2.captions.jsonl"} <= files.keys()
    result = json.loads(files["pope-causal-limit2.json"])
    assert result["lever"] == {"file": "causal.yaml", "mask": "mm.masks.Causal"}
    assert result["settings"]["decoding"] == {"greedy": True, "num_beams": 1, "max_new_tokens": 8}
    assert result["config"]["parts"]["language"]["class_path"].startswith("mm.language")
    assert main(command) == 0
    for name, content in files.items():
        again = (directory / "eval" / name).read_bytes()
        if name.endswith("limit2.json"):
            assert untimed(json.loads(again)) == untimed(json.loads(content))
        else:
            assert again == content


def test_a_view_stands_behind_the_name(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["pope", "pope:blind", "pope:context", "--model", str(directory), "--limit", "2", "--pope.size", "9", "--out", str(tmp_path)]
    assert main(command) == 0
    logp = [tuple(row["logp"]["yes"] for row in map(json.loads, (tmp_path / f"pope{view}-limit2.rows.jsonl").read_text().splitlines()))
            for view in ("", "-blind", "-context")]
    assert len(set(logp)) == 3
    assert main(["pope:blnd", "--model", str(directory)]) == 2
    assert "a view is full, blind, context" in capsys.readouterr().err


def test_answers_of_other_weights_are_not_taken(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vlm = VLM.load(directory)
    vlm.save(tmp_path / "model")
    command = ["pope", "--model", str(tmp_path), "--limit", "1", "--pope.size", "3"]
    assert main(command) == 0
    before = fingerprint(tmp_path)
    with torch.no_grad():
        next(vlm.projector.parameters()).add_(0.1)
    vlm.save(tmp_path / "model")
    assert fingerprint(tmp_path) != before
    assert main(command) == 2
    assert "model was" in capsys.readouterr().err
    assert main([*command, "--overwrite", "true"]) == 0


def test_the_command_line_asks_about_clips(tmp_path: Path) -> None:
    toy(config={"max_position_embeddings": 1024}).save(tmp_path / "model")
    copy = layouts.mvbench(tmp_path / "copy")
    given = ["--model", str(tmp_path), "--mvbench.data", str(copy), "--mvbench.sampling", "mm.media.MVBench", "--mvbench.sampling.frames", "3",
             "--mvbench.max_new_tokens", "3", "--order.size", "6", "--limit", "2"]
    assert main(["mvbench", "order", "order:shuffled", *given]) == 0
    assert {path.name for path in (tmp_path / "eval").glob("*limit2.json")} == {
        "mvbench-limit2.json", "order-limit2.json", "order-shuffled-limit2.json"}
    result = Result.load(tmp_path / "eval" / "mvbench-limit2.json")
    assert result.n == 40
    assert result.settings["sampling"] == {"class_path": "mm.media.MVBench", "init_args": {"frames": 3}}
