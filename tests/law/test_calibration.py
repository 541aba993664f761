"""Calibration of yes and no: areas and errors by hand, spellings that count together, and intervals that draw pictures."""
import math
from itertools import product

import numpy as np
import pytest

from eval.frame.calibration import BINS, METRICS, calibration, p_yes
from eval.frame.intervals import clustered, values_only, weighted
from eval.pope import score


def logp(p: float) -> dict[str, float]:
    return {"yes": math.log(p) - 3, "no": math.log(1 - p) - 3}  # most of the probability elsewhere, which is no matter


def test_spellings_of_a_word_count_together() -> None:
    assert p_yes(logp(0.3)) == pytest.approx(0.3)
    spread = {"yes": math.log(0.05), "Yes": math.log(0.25), "no": math.log(0.5), "No": math.log(0.1)}
    assert p_yes(spread) == pytest.approx(0.3 / 0.9)
    assert p_yes({text: value for text, value in spread.items() if text in ("Yes", "No")}) == pytest.approx(0.25 / 0.35)
    assert p_yes({"Yes": -1.0, "no": -math.inf}) == 1.0
    for nothing in (None, {}, {"yes": -1.0}, {"perhaps": -1.0, "No": -1.0}):
        assert p_yes(nothing) is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [(math.nan, math.nan), (math.nan, -1.0), (-math.inf, -math.inf)], ids=["nan", "one", "impossible"])
def test_numbers_of_a_model_that_overflows_are_left_out(values: tuple[float, float]) -> None:
    broken = dict(zip(("yes", "no"), values, strict=True))
    assert p_yes(broken) is None
    assert calibration([broken], [True], ["a"]) == {}
    assert calibration([broken, logp(0.75)], [False, True], ["a", "b"])["brier"].n == 1


def test_the_area_is_the_share_of_pairs_in_order_ties_half() -> None:
    rng = np.random.default_rng(0)
    p = rng.integers(1, 10, 60) / 10  # many ties
    yes = rng.random(60) < p
    found = calibration([logp(value) for value in p], yes.tolist(), [str(i // 3) for i in range(60)])
    pairs = [(a > b) + (a == b) / 2 for a, b in product(p[yes].round(9), p[~yes].round(9))]
    assert found["auc"].value == pytest.approx(np.mean(pairs), abs=1e-12)
    assert found["brier"].value == pytest.approx(np.mean((p - yes) ** 2), abs=1e-9)
    assert found["logp_accuracy"].value == np.mean((p > 0.5) == yes)
    assert all(s.low <= s.value <= s.high and s.n == 60 for s in found.values())
    assert tuple(found) == METRICS


def test_the_error_is_the_distance_of_confidence_and_share_in_each_bin() -> None:
    p, yes = [0.81, 0.82, 0.83, 0.84, 0.11, 0.12], [True, True, True, False, False, False]
    assert int(0.81 * BINS) == int(0.84 * BINS) != int(0.11 * BINS) == int(0.12 * BINS)
    wanted = (4 * abs(0.825 - 0.75) + 2 * abs(0.115 - 0)) / 6
    found = calibration([logp(value) for value in p], yes, "abcdef")
    assert found["ece"].value == pytest.approx(wanted)
    assert calibration([{"yes": 0.0, "no": -800.0}], [True], "a")["ece"].value == 0.0  # P(yes) of one has a bin, too


def test_a_model_that_says_yes_too_often_keeps_its_area() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(400)
    yes, names = rng.random(400) < p, [str(i // 4) for i in range(400)]
    honest, eager = (calibration([logp(value) for value in values], yes.tolist(), names) for values in (p, p ** 0.2))
    assert honest["auc"] == eager["auc"]
    assert honest["ece"].value < 0.1 < eager["ece"].value
    assert honest["brier"].value < eager["brier"].value
    assert honest["logp_accuracy"].value > eager["logp_accuracy"].value


def test_without_log_probabilities_or_both_answers_nothing_is_made_up() -> None:
    assert calibration([None, {}], [True, False], "ab") == {}
    found = calibration([logp(0.9), None], [True, True], "ab")
    assert math.isnan(found["auc"].value)
    assert found["brier"].n == 1
    rows = [{"split": "random", "image": image, "label": "yes", "prediction": "yes", "matched": True, "logp": logp(0.9)} for image in "ab"]
    assert "random/auc is undefined on these answers" in score(rows).remarks
    assert "random/auc" not in score([{**row, "logp": None} for row in rows]).scores


def test_both_bootstraps_draw_the_same_pictures() -> None:
    hits = np.random.default_rng(2).random(90) < 0.7
    names = [i // 3 for i in range(90)]
    of_sums = clustered(names, np.stack([hits, np.ones(90)], 1), lambda s: s[..., 0] / s[..., 1], 90)
    assert weighted(names, lambda times: (times * hits).sum(-1) / times.sum(-1)) == of_sums
    with values_only():
        alone = calibration([logp(0.2 + hit / 2) for hit in hits], hits.tolist(), names)
    assert alone["auc"].value == 1.0
    assert math.isnan(alone["auc"].low)
    assert math.isnan(alone["ece"].high)
