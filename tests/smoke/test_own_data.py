"""`train.py fit` on the user's own files: on the exported world it is the run that the generator gives, on photographs it takes one changed line."""
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data.world import Scenes
from data.world.export import export
from tests.photos import write_photographs

ROOT = Path(__file__).parents[2]
# One process for all runs: importing costs more than training does.
PROGRAM = """
import json, runpy, sys
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["train.py", "fit", *arguments]
    runpy.run_path("train.py", run_name="__main__")"""
SMALL = ["--data.batch_size", "4", "--data.val", "null", "--trainer.max_steps", "3", "--trainer.val_check_interval", "null",
         "--trainer.precision", "32-true", "--journal.every", "1"]


def fit(*runs: list[str]) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(runs)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def steps(run: Path) -> list[dict[str, Any]]:
    """What a run says of its steps."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The part of it that does not depend on the clock."""
    return [{key: row[key] for key in ("step", "samples", "loss", "gradient_norm")} for row in rows]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three runs of three steps: on the generator, on its export, on ten photographs of which one is cut off."""
    folder = tmp_path_factory.mktemp("own_data")
    size = ["--data.train.size", "16", "--data.train.questions", "3"]
    exported = export(Scenes("train", 16, questions=3), folder / "world")

    photographs = write_photographs(folder)
    (folder / "telephone.jpg").write_bytes((folder / "telephone.jpg").read_bytes()[:2000])
    overlay = (ROOT / "configs/llava-json.yaml").read_text().replace("data/mine.json", str(photographs))
    (folder / "mine.yaml").write_text(overlay)

    demo = ["--config", "configs/demo.yaml"]
    own = ["--data.train", "data.llava.Conversations", "--data.train.file", str(exported)]
    said = fit(
        [*demo, *size, *SMALL, "--run_dir", str(folder / "generated")], [*demo, *own, *SMALL, "--run_dir", str(folder / "read")],
        [*demo, "--config", str(folder / "mine.yaml"), *SMALL, "--run_dir", str(folder / "photographs")])
    (folder / "said").write_text(said)
    return folder


def test_the_exported_world_gives_the_run_of_the_generator(run: Path) -> None:
    generated, read = timeless(steps(run / "generated")), timeless(steps(run / "read"))
    assert [row["step"] for row in read] == [1, 2, 3]
    assert generated == read
    assert (run / "generated/model/model.safetensors").read_bytes() == (run / "read/model/model.safetensors").read_bytes()


def test_one_changed_line_trains_on_photographs(run: Path) -> None:
    before, after = (file.read_text().splitlines() for file in (ROOT / "configs/llava-json.yaml", run / "mine.yaml"))
    changed = [line for line in after if line not in before]
    assert len(changed) == 1
    assert [row["step"] for row in steps(run / "photographs")] == [1, 2, 3]


def test_a_cut_off_photograph_is_skipped_counted_and_named(run: Path) -> None:
    assert sum(row.get("skipped", 0) for row in steps(run / "photographs")) in (1, 2)  # three batches of four draw it once, or again in the next pass
    assert "skipped: sample '0': " in (run / "said").read_text()
    assert "telephone.jpg is damaged" in (run / "said").read_text()
