"""The comparison of heads runs from pictures to tables, and what it compares is what it says."""
import json
from pathlib import Path

import pytest
import torch

from eval.probing.__main__ import main
from eval.probing.comparing import PAIRS, differences, levels
from eval.probing.encoder import one_cycle
from eval.probing.heads import CLASSES, COMPARED
from eval.probing.pictures import SINGLE, pictures
from eval.probing.training import Trained


def test_a_tiny_comparison_writes_both_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--steps", "2", "--encoder_steps", "2", "--batch", "4", "--width", "16", "--train", "8", "--test", "6"]
    assert main([str(tmp_path / "new"), "--seeds", "0", "1", *sizes]) == 0
    result = json.loads((tmp_path / "new/probing.json").read_text())
    assert list(result["levels"]) == [kind.name for kind in COMPARED]
    assert result["settings"]["width"] == 16
    assert len(result["differences"]) == 3 * len(PAIRS)
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "new/probing.md").read_text()
    assert all(f"| {kind.name} |" in printed for kind in COMPARED)


def test_any_number_of_steps_is_a_cycle() -> None:
    for steps in range(1, 25):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule, rates = one_cycle(optimizer, 0.5, steps), []
        for _ in range(steps):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        assert 0 < max(rates) <= 0.5


def test_a_picture_shows_one_object_and_its_labels() -> None:
    found = pictures("test", 6, 0, SINGLE)
    assert found.pixels.shape == (6, 3, 64, 64)
    assert (found.labels >= 0).all()
    assert (found.labels < torch.tensor(CLASSES)).all()
    assert torch.equal(pictures("test", 3, 0, SINGLE).pixels, found.pixels[:3])


def test_a_difference_that_every_seed_and_picture_shows_is_significant_and_none_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    chance = [(torch.rand(200, 2, generator=generator) < 0.5) for _ in range(3)]
    better = [right | (torch.rand(200, 2, generator=generator) < 0.7) for right in chance]
    names = [kind.name for kind in COMPARED]
    runs = [{name: Trained(better[seed] if name == "efficient probing" else chance[seed], 1, 0.0) for name in names} for seed in range(3)]
    found = {(row["head"], row["control"], row["measure"]): row for row in differences(runs)}
    ours = found["efficient probing", "linear probing", "shape"]
    assert ours["significant"]
    assert ours["low"] < ours["value"] < ours["high"]
    same = found["DCAL", "two blocks", "both"]
    assert (same["value"], same["significant"]) == (0.0, False)
    assert levels(runs)["DCAL"]["colour"]["value"] == pytest.approx(torch.stack(chance)[..., 1].double().mean().item())
