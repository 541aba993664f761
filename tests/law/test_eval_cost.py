"""What a result says of its cost: exact counts, of all pieces in which it was answered, and nothing of it anywhere else."""
import json
from pathlib import Path

import pytest

from eval.chair import CHAIR
from eval.frame.evaluating import evaluate
from eval.frame.model import Model
from eval.frame.options import Options
from eval.frame.result import Result
from eval.frame.same import differences, main
from eval.pope import POPE
from tests.answering import saved


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("run"))


class Dying(Model):
    """Is killed at its third batch."""

    batches = 2

    def answer(self, items, max_new_tokens):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        if not self.batches:
            raise KeyboardInterrupt
        self.batches -= 1
        return super().answer(items, max_new_tokens)


def test_plain_decoding_takes_a_forward_pass_a_token(directory: Path, tmp_path: Path) -> None:
    cost = evaluate("chair", CHAIR(size=5, max_new_tokens=9), Model(str(directory)), Options(str(directory), out=str(tmp_path), batch_size=2)).cost
    assert (cost["answers"], cost["measured"], cost["starts"], cost["processes"], cost["device"]) == (5, 5, 1, 1, "cpu")
    assert 5 <= cost["tokens"] <= 45
    assert cost["forwards_per_token"] == 1.0
    assert cost["tokens_per_second"] == pytest.approx(cost["tokens"] / cost["seconds"], rel=0.05)  # seconds are rounded
    assert 50 < cost["peak_memory_mb"] < 50_000


def test_reading_candidates_behind_one_picture_saves_passes(directory: Path, tmp_path: Path) -> None:
    cost = evaluate("pope", POPE(size=6), Model(str(directory)), Options(str(directory), out=str(tmp_path))).cost
    assert cost["forwards_per_token"] < 0.5


def test_pieces_add_up_and_only_the_cost_differs(directory: Path, tmp_path: Path) -> None:
    options = Options(str(directory), out=str(tmp_path / "pieces"), batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate("pope", POPE(size=9), Dying(str(directory)), options)
    pieces = evaluate("pope", POPE(size=9), Model(str(directory)), options)
    once = evaluate("pope", POPE(size=9), Model(str(directory)), Options(str(directory), out=str(tmp_path / "once"), batch_size=2))
    assert (pieces.cost["starts"], once.cost["starts"]) == (2, 1)
    for name in ("answers", "measured", "tokens", "forwards_per_token"):
        assert pieces.cost[name] == once.cost[name]
    assert differences(tmp_path / "pieces", tmp_path / "once") == []
    assert main([str(tmp_path / "pieces"), str(tmp_path / "once")]) == 0
    timed = [path.name for path in (tmp_path / "once").iterdir() if "seconds" in path.read_text()]
    assert sorted(timed) == ["pope.items.timings.jsonl", "pope.json"]


def test_what_differs_is_found(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        evaluate("pope", POPE(size=3), Model(str(directory)), Options(str(directory), out=str(tmp_path / name)))
    result = json.loads((tmp_path / "b" / "pope.json").read_text())
    (tmp_path / "b" / "pope.json").write_text(json.dumps(result | {"n": 0}))
    (tmp_path / "b" / "more.jsonl").write_text("")
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    said = capsys.readouterr().out
    assert "more.jsonl is only in" in said
    assert "pope.json differs" in said


def test_answers_without_timings_are_told_from_measured_ones(directory: Path, tmp_path: Path) -> None:
    options = Options(str(directory), out=str(tmp_path), batch_size=2)
    first = evaluate("pope", POPE(size=5), Model(str(directory)), options)
    (tmp_path / "pope.items.timings.jsonl").unlink()
    cost = evaluate("pope", POPE(size=5), Model(str(directory)), options).cost
    assert (cost["answers"], cost["measured"], cost["tokens_per_second"], cost["forwards_per_token"]) == (first.cost["answers"], 0, None, None)
    assert Result.load(tmp_path / "pope.json").scores == first.scores
