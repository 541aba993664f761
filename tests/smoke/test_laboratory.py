"""The laboratory at toy size, from training to page, and every number in it from the answers themselves."""
import json
import re
from collections.abc import Sequence
from math import comb
from pathlib import Path
from typing import Any

import pytest

from eval.laboratory.__main__ import main
from eval.laboratory.arms import ARMS
from eval.laboratory.measures import MEASURES
from eval.laboratory.rules import RULES
from eval.report.__main__ import main as report
from tests.training_runs import forked, refused

SIZE = ["--config", "configs/toy.yaml", "--steps", "2", "--tune_steps", "1", "--batch_size", "2", "--seeds", "0", "1", "--limit", "3", "--size", "12"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("laboratory")
    assert main([str(folder), *SIZE], forked) == 0
    return folder


@pytest.fixture(scope="module")
def found(out: Path) -> dict[str, Any]:
    return json.loads((out / "laboratory.json").read_text(encoding="utf-8"))


def answers(out: Path, name: str, seed: int, benchmark: str) -> list[dict[str, Any]]:
    """Judged rows of an arm, or of a rule on the models that rules read with."""
    rule = name in {rule.name for rule in RULES}
    path = out / "runs" / f"{'image_block' if rule else name}-seed{seed}" / "eval" / f"{benchmark}{f'-{name}' if rule else ''}-limit3.rows.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def share(rows: list[dict[str, Any]], measure: str) -> float:
    kind = measure.partition("/")[2]
    if measure.startswith("chair/"):
        top, bottom = {"chair_i": ("hallucinated", "generated"), "recall": ("recalled", "gt")}.get(kind, ("", ""))
        if not top:
            return sum(bool(row["hallucinated"]) for row in rows) / len(rows)
        below = sum(len(row[bottom]) for row in rows)
        return sum(len(row[top]) for row in rows) / below if below else float("nan")
    own = [row["prediction"] == row["label"] for row in rows if kind in (row.get("split"), row.get("kind"))]
    return sum(own) / len(own)


def test_every_arm_and_rule_is_compared_on_every_measure(found: dict[str, Any]) -> None:
    trained = {(each["lever"], each["measure"]) for each in found["trained"]}
    assert trained == {(arm.name, measure.name) for arm in ARMS if arm.control for measure in MEASURES}
    free = {(each["lever"], each["measure"]) for each in found["training_free"]}
    assert free == {(rule.name, measure.name) for rule in RULES for measure in MEASURES}


def test_the_levels_and_differences_are_those_of_the_answers(out: Path, found: dict[str, Any]) -> None:
    checked = 0
    for each in (*found["trained"], *found["training_free"]):
        benchmark = each["measure"].partition("/")[0]
        before, after = ([answers(out, each[side], seed, benchmark) for seed in (0, 1)] for side in ("control", "lever"))
        for value, rows in ((each["before"], before), (each["after"], after)):
            wanted = share([row for of_seed in rows for row in of_seed], each["measure"])
            assert value == (pytest.approx(wanted) if wanted == wanted else None)
        by_seed = [share(b, each["measure"]) - share(a, each["measure"]) for a, b in zip(before, after, strict=True)]
        assert each["by_seed"] == [pytest.approx(value) if value == value else None for value in by_seed]
        if each["value"] is not None:
            assert each["value"] == pytest.approx(each["after"] - each["before"])
            assert each["low"] <= each["value"] <= each["high"]
            checked += 1
    assert checked > len(ARMS)


def test_mcnemar_is_that_of_the_answers(out: Path, found: dict[str, Any]) -> None:
    of_pope = [each for each in found["trained"] if each["measure"].startswith("pope/")]
    assert len(of_pope) >= len([arm for arm in ARMS if arm.control])
    for each in of_pope:
        split = each["measure"].partition("/")[2]
        before, after = ([row["correct"] for seed in (0, 1) for row in answers(out, each[side], seed, "pope") if row["split"] == split]
                         for side in ("control", "lever"))
        gained, lost = (sum(b is better and a is not better for a, b in zip(before, after, strict=True)) for better in (True, False))
        n = gained + lost
        assert each["mcnemar"] == pytest.approx(min(1.0, 2 * sum(comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n))
        assert each["n"] == len(before)


def test_verdicts_follow_the_corrected_p(found: dict[str, Any]) -> None:
    for key in ("trained", "training_free"):
        for each in found[key]:
            assert each["p"] <= each["p_holm"] <= 1.0
            assert (each["verdict"] == "not significant") == (each["p_holm"] > 0.05 or not each["value"])


def test_the_file_says_what_produced_it(out: Path, found: dict[str, Any]) -> None:
    assert found["settings"]["questions"] == {"limit": 3, "size": 12}
    assert {"torch", "transformers"} <= found["versions"].keys()
    assert "ModalityMutual" in found["config"]["mutual"]
    assert set(found["n"]) == set(found["unparsed"]) == {each.name for each in (*ARMS, *RULES)}
    assert found["n"]["causal"] == sum(len(answers(out, "causal", seed, name)) for seed in (0, 1) for name in ("pope", "chair", "skills"))


def test_what_is_seen_is_what_the_masks_say(found: dict[str, Any]) -> None:
    for name, reads_ahead in (("causal", False), ("image_block", True), ("mutual", True), ("composite", False)):
        begin, end = found["seeing"][name]["picture"]
        visible = found["seeing"][name]["visible"]
        assert ("1" in visible[begin][begin + 1:]) is reads_ahead
        assert ("1" in visible[end - 1][end:]) is (name == "mutual")  # its question
        assert ("1" in visible[end - 1][:end - 1]) is (name != "composite")


def test_what_is_done_is_not_done_again(out: Path, found: dict[str, Any]) -> None:
    assert main([str(out), *SIZE], refused) == 0
    again = json.loads((out / "laboratory.json").read_text(encoding="utf-8"))
    assert again | {"seconds": 0} == found | {"seconds": 0}


def test_other_settings_are_refused(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(out), *SIZE, "--steps", "3"], refused) == 2
    assert "give another directory" in capsys.readouterr().err


def test_a_run_that_fails_is_said_to_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(words: Sequence[str]) -> None:
        raise RuntimeError("python train.py fit ended with status 1: out of memory")

    assert main([str(tmp_path), *SIZE], fails) == 2
    assert "out of memory" in capsys.readouterr().err


def test_the_page_needs_nothing_else_and_is_well_formed(out: Path) -> None:
    page = (out / "laboratory.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    for tag in ("div", "section", "figure", "table", "tr", "p", "svg", "ul", "details", "span"):
        assert len(re.findall(rf"<{tag}[\s>]", page)) == page.count(f"</{tag}>"), tag
    for part in ("rings around the centre", "ZeroTuning", "PAINT was not tried", "McNemar p", "python -m eval.laboratory"):
        assert part in page, part


def test_a_report_shows_the_laboratory_that_lies_in_its_run_or_is_given(out: Path, tmp_path: Path) -> None:
    arm = out / "runs" / "causal-seed0"
    assert report([str(arm), "--places", "0", "--out", str(tmp_path / "without.html")]) == 0
    assert "As a laboratory" not in (tmp_path / "without.html").read_text(encoding="utf-8")
    assert report([str(arm), "--places", "0", "--out", str(tmp_path / "with.html"), "--laboratory", str(out / "laboratory.json")]) == 0
    shown = (tmp_path / "with.html").read_text(encoding="utf-8")
    assert "As a laboratory" in shown
    assert "other models than this run" in shown
