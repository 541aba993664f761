"""torchrun: two processes print once what one prints, and leave the same bytes."""
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eval.__main__ import main
from eval.frame.same import differences
from tests.answering import saved
from tests.evaluations import ROOT, environment


def test_two_processes_are_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path)
    torch.set_num_threads(1)
    asked = ["pope", "chair", "pope:blind", "--model", str(tmp_path), "--limit", "6", "--pope.size", "20", "--batch_size", "2"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "eval"]
    given = [*torchrun, *asked, "--out", str(tmp_path / "two")]
    done = subprocess.run(given, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert main([*asked, "--out", str(tmp_path / "one")]) == 0
    assert done.stdout == capsys.readouterr().out
    assert differences(tmp_path / "one", tmp_path / "two") == []
    processes = {int(number) for path in (tmp_path / "two").glob("*.timings.jsonl") for number in re.findall(r'"process": (\d)', path.read_text())}
    assert processes == {0, 1}
