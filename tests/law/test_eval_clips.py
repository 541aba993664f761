"""The comparison on clips: what is said of a difference follows from its corrected p, and no arm is trained without its control."""
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eval.clips.arms import ARMS, with_controls
from eval.clips.experiment import comparisons
from eval.frame.paired import holm

LENGTHS = (6, 24)


def answered(rates: dict[str, float], size: int = 200, seeds: int = 3) -> dict[tuple[str, int], Any]:
    """Answers of each arm by seed, right at its rate."""
    rng = np.random.default_rng(0)
    rows = {(name, frames): [[{"id": str(i), "picture": str(i), "correct": bool(rng.random() < rate)} for i in range(size)] for _ in range(seeds)]
            for name, rate in rates.items() for frames in LENGTHS}
    return {key: [SimpleNamespace(rows=of_seed) for of_seed in found] for key, found in rows.items()}


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    rates = {"ccam_full": 0.45, "ccam_causal": 0.95, "ccam_time": 0.45, "pooled": 0.9, "crosslmm": 0.3, "all": 0.9}
    return comparisons(ARMS, LENGTHS, answered(rates))


def test_differences_are_judged_and_corrected_together(found: list[dict[str, Any]]) -> None:
    assert len(found) == 8
    assert [row["p_holm"] for row in found] == holm([row["p"] for row in found])
    verdicts = {(row["lever"], row["frames"]): row["verdict"] for row in found}
    for frames in LENGTHS:
        assert verdicts["ccam_causal", frames] == "helps"
        assert verdicts["ccam_time", frames] == "not significant"
        assert verdicts["crosslmm", frames] == "harms"


@pytest.mark.parametrize(("named", "trained"), [
    (["ccam_causal"], ["ccam_full", "ccam_causal"]), (["all", "ccam_time"], ["ccam_full", "ccam_time", "pooled", "all"]), (["pooled"], ["pooled"])])
def test_arms_come_with_their_controls(named: list[str], trained: list[str]) -> None:
    assert [each.name for each in with_controls(named)] == trained
