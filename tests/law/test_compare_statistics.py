"""What a comparison calls certain, against truths that are known."""
import math

import numpy as np
import pytest

from eval.compare.comparing import Comparison, flips, judged
from eval.compare.draws import Difference, Level, Sums
from eval.compare.lengths import beginning, cut_to, matched
from eval.compare.measures import counted
from eval.compare.ranking import auc_difference
from eval.compare.recomputed import recomputed, values
from eval.frame.benchmark import Benchmark, Row, Scored
from eval.frame.intervals import proportion
from eval.frame.paired import mcnemar
from tests.comparisons import chair, named

DRAWS = 1000


def share(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., 0] / sums[..., 1])


def sums(first: np.ndarray, second: np.ndarray, draws: int = DRAWS) -> Sums:
    """Right answers [pictures, questions] of two runs."""
    clusters = [p for p, questions in enumerate(first) for _ in questions]
    one, other = (np.stack([right.ravel(), np.ones(right.size)], 1).astype(float) for right in (first, second))
    return Sums(clusters, one, other, draws)


def answers(rng: np.random.Generator, gain: float = 0.0, together: bool = False, pictures: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Two runs that are right seven times in ten, the second by `gain` more often. together: all answers to a picture are right or none is."""
    draw = rng.random((2, pictures, 1 if together else 4))
    return tuple(np.broadcast_to(draw[side] < 0.7 + gain * side, (pictures, 4)) for side in (0, 1))  # type: ignore[return-value]


@pytest.mark.parametrize("together", [False, True])
def test_runs_that_differ_by_chance_are_called_certain_one_time_in_twenty(together: bool) -> None:
    rng, runs = np.random.default_rng(0), 300
    found = [sums(*answers(rng, together=together), draws=400).difference(share) for _ in range(runs)]
    certain = sum(each.p < 0.05 for each in found) / runs
    assert 0.015 < certain < 0.08
    assert sum(not each.low <= 0 <= each.high for each in found) / runs < 0.09


def test_a_test_of_single_answers_is_fooled_by_pictures_where_this_one_is_not() -> None:
    rng = np.random.default_rng(1)
    runs = [answers(rng, together=True) for _ in range(200)]
    naive = sum(mcnemar(first.ravel().tolist(), second.ravel().tolist()) < 0.05 for first, second in runs) / len(runs)
    assert naive > 0.2


def test_a_gain_is_found_and_a_loss_is_its_mirror() -> None:
    first, second = answers(np.random.default_rng(2), gain=0.15)
    gain, loss = sums(first, second).difference(share), sums(second, first).difference(share)
    assert gain.low < 0.15 < gain.high
    assert gain.p < 0.01
    assert (loss.value, loss.p) == (-gain.value, pytest.approx(gain.p, abs=0.005))
    assert (gain.first.value, gain.second.value) == (pytest.approx(first.mean()), pytest.approx(second.mean()))


def test_answers_that_go_together_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    alone, together = (sums(*answers(rng, together=each, pictures=200)).difference(share) for each in (False, True))
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(2, rel=0.25)  # four answers count as one


def test_the_interval_of_independent_pictures_is_the_textbook_one() -> None:
    rng = np.random.default_rng(4)
    first, second = (rng.random((400, 1)) < rate for rate in (0.6, 0.7))
    change = second.astype(float) - first
    found = sums(first, second, 4000).difference(share)
    assert found.high - found.low == pytest.approx(2 * 1.96 * change.std() / math.sqrt(400), rel=0.06)


def test_with_one_question_a_picture_the_test_is_mcnemar_s() -> None:
    first = np.array([[0]] * 7 + [[1]] * 2 + [[1]] * 20, dtype=bool)
    second = np.array([[1]] * 7 + [[0]] * 2 + [[1]] * 20, dtype=bool)
    found = sums(first, second).difference(share)
    assert found.swaps == 2**9  # every way
    assert found.p == pytest.approx(mcnemar(first[:, 0].tolist(), second[:, 0].tolist()), abs=1e-12)


@pytest.mark.parametrize(("gained", "lost"), [(30, 5), (60, 20), (25, 2)])
def test_a_p_below_what_the_draws_can_show_is_of_the_right_size(gained: int, lost: int) -> None:
    second = np.array([[1]] * gained + [[0]] * lost + [[1]] * 200, dtype=bool)
    first = np.array([[0]] * gained + [[1]] * lost + [[1]] * 200, dtype=bool)
    found, exact = sums(first, second, 300).difference(share).p, mcnemar(first[:, 0].tolist(), second[:, 0].tolist())
    assert exact < 1 / 1000
    assert exact / 3 < found < 3 * exact


def test_three_pictures_make_nothing_certain() -> None:
    first = np.zeros((50, 4), dtype=bool)
    second = first.copy()
    second[:3] = True
    found = sums(first, second).difference(share)
    assert found.p == pytest.approx(2 / 2**3)


def test_the_same_answers_differ_by_nothing() -> None:
    first, _ = answers(np.random.default_rng(5))
    found = sums(first, first).difference(share)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_what_is_undefined_is_not_certain() -> None:
    found = sums(np.zeros((5, 2)), np.ones((5, 2))).difference(lambda s: np.full(s.shape[:-1], np.nan))
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert found.p == 1


# --- metrics


def yes_no(number: int, label: str, prediction: str | None, p: float = 0.5) -> Row:
    return {"id": str(number), "picture": f"p{number // 2}", "answer": str(prediction), "label": label, "prediction": prediction,
            "correct": prediction == label, "logp": {"Yes ": math.log(p), "no": math.log(1 - p)}, "split": "random"}


def level(rows: list[Row], name: str) -> float:
    table = counted(rows)
    measure = next(each for each in table.measures if each.name == name)
    return float(measure.statistic(table.counts(rows).sum(0)))


def test_metrics_of_yes_and_no_by_hand() -> None:
    rows = [yes_no(0, "yes", "yes", 0.9), yes_no(1, "no", "yes", 0.6), yes_no(2, "yes", None, 0.2), yes_no(3, "no", "no", 0.1)]
    by_hand = {"accuracy": 2 / 4, "precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "yes_ratio": 2 / 4, "false_yes": 1 / 2,
               "brier": (0.01 + 0.36 + 0.64 + 0.01) / 4,
               "ece": (abs(0.9 - 1) + abs(0.6 - 0) + abs(0.2 - 1) + abs(0.1 - 0)) / 4, "logp_accuracy": 2 / 4}
    assert {name: level(rows, f"random/{name}") for name in by_hand} == pytest.approx(by_hand)
    assert math.isnan(level([yes_no(0, "yes", "no"), yes_no(1, "no", "no")], "random/f1"))


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(6)
    runs = [[yes_no(i, "yes" if i % 3 else "no", "yes", round(rng.uniform(0.1, 0.9), 1)) for i in range(60)] for _ in range(2)]
    found = auc_difference(*runs, [row["picture"] for row in runs[0]], 300)
    for rows, area in zip(runs, (found.first, found.second), strict=True):
        yes, no = ([row["logp"]["Yes "] for row in rows if row["label"] == label] for label in ("yes", "no"))
        assert area.value == pytest.approx(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in yes for b in no]))
        assert area.low < area.value < area.high
    assert found.p > 0.05
    same = auc_difference(runs[0], runs[0], [row["picture"] for row in runs[0]], 300)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_flips_are_counted() -> None:
    before = [yes_no(0, "yes", "yes"), yes_no(1, "no", "yes"), yes_no(2, "yes", "no"), yes_no(3, "no", "no")]
    after = [yes_no(0, "yes", "no"), yes_no(1, "no", "no"), yes_no(2, "yes", None), yes_no(3, "no", "no")]
    (found,) = flips("pope", "b", before, after)
    assert (found.n, found.changed, found.gained, found.lost, found.both_wrong) == (4, 3, 1, 1, 1)


# --- the benchmark's own numbers


class Pairs(Benchmark):
    """Right where both answers of a pair are, which are about two pictures."""

    max_new_tokens = 1

    def items(self) -> list[object]:  # type: ignore[override]
        raise AssertionError("a comparison does not ask")

    def judge(self, row: Row, parser: str) -> Row:
        raise AssertionError("a comparison does not judge")

    def export(self, rows: object) -> dict[str, list[Row]]:
        raise AssertionError("a comparison does not export")

    def cluster(self, row: Row) -> str:
        return str(row["pair"])

    def aggregate(self, rows: object) -> Scored:
        pairs: dict[str, list[bool]] = {}
        for row in rows:  # type: ignore[attr-defined]
            pairs.setdefault(row["pair"], []).append(row["right"])
        assert {len(each) for each in pairs.values()} <= {2}, "a pair came apart, or twice"
        hits = proportion(sum(map(all, pairs.values())), len(pairs))
        return Scored({"pairs": hits}, len(pairs), 0)


def pairs(right: np.ndarray) -> list[Row]:
    return [{"id": f"{i}{k}", "picture": f"p{i}{k}", "pair": f"{i}", "right": bool(right[i])} for i in range(len(right)) for k in range(2)]


def test_a_benchmark_s_own_numbers_have_the_interval_and_p_of_the_same_metric_counted() -> None:
    rng = np.random.default_rng(7)
    first, second = rng.random(150) < 0.5, rng.random(150) < 0.62
    found = recomputed(Pairs(), pairs(first), pairs(second), ["pairs"], 600)["pairs"]
    wanted = sums(first[:, None], second[:, None], 4000).difference(share)
    assert found.value == pytest.approx(wanted.value)
    assert found.high - found.low == pytest.approx(wanted.high - wanted.low, rel=0.12)
    assert found.p == pytest.approx(wanted.p, abs=0.03)
    same = recomputed(Pairs(), pairs(first), pairs(first), ["pairs"], 50)["pairs"]
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert values(Pairs(), pairs(first)) == {"pairs": first.mean()}


# --- captions at the same length


def caption(benchmark: Benchmark, number: int, text: str, objects: list[str]) -> Row:
    row = {"id": str(number), "picture": f"p{number}", "image_id": number, "objects": objects, "answer": text, "logp": None}
    return {**row, **benchmark.judge(row, "official")}


def test_a_longer_caption_that_only_goes_on_is_no_different_at_the_same_length() -> None:
    benchmark, there = chair(1), ["star", "ring"]
    short = [caption(benchmark, i, named(there), there) for i in range(6)]
    long = [caption(benchmark, i, named([*there, "moon", "heart"]), there) for i in range(6)]
    assert sum(row["chair_s"] for row in short) == 0
    assert sum(row["chair_s"] for row in long) == 6
    cut = matched(benchmark, "official", short, long)
    assert cut.cut == (0, 6)
    assert cut.words == len(named(there).split())
    assert [row["chair_s"] for row in cut.second] == [0] * 6
    assert [row["recalled"] for row in cut.second] == [row["recalled"] for row in short]
    assert cut.first == short


def test_each_pair_is_cut_to_its_own_shorter_caption() -> None:
    benchmark, there = chair(1), ["star"]
    first = [caption(benchmark, 0, "a moon a star", there), caption(benchmark, 1, "a star", there), caption(benchmark, 2, "", there)]
    second = [caption(benchmark, 0, "a star", there), caption(benchmark, 1, "a star and a moon", there), caption(benchmark, 2, "a moon", there)]
    cut = matched(benchmark, "official", first, second)
    assert [row["answer"] for row in cut.first] == ["a moon", "a star", ""]
    assert [row["answer"] for row in cut.second] == ["a star", "a star", ""]
    assert [row["chair_s"] for row in cut.first] == [1, 0, 0]
    assert cut.cut == (1, 2)
    assert cut.words == pytest.approx(4 / 3)


@pytest.mark.parametrize(("text", "length", "found"), [("a  b\n c", 2, "a  b"), (" a b", 1, " a"), ("a b", 0, ""), ("a b", 2, "a b")])
def test_a_beginning_keeps_the_text_as_it_is(text: str, length: int, found: str) -> None:
    assert beginning(text, length) == found


def test_a_caption_without_more_words_is_not_judged_again() -> None:
    row = {"answer": "a b"}
    assert cut_to(chair(1), "official", row, 2) is row


# --- the family


def compared(p: float, primary: bool, value: float, better: str | None) -> Comparison:
    here = Level(0.5, 0.4, 0.6)
    return Comparison("pope", "accuracy", "b", Difference(here, here, value, value, value, p, 1, 1), 9, "counted", better,  # type: ignore[arg-type]
                      is_primary=primary)


def test_holm_is_over_the_primary_tests_alone() -> None:
    found = judged([compared(0.01, True, 0.1, "more"), compared(0.001, False, 0.1, "more"), compared(0.02, True, 0.1, "less"),
                    compared(0.9, True, 0.1, "more")])
    assert [each.p_holm for each in found] == pytest.approx([0.03, None, 0.04, 0.9])
    assert [each.verdict for each in found] == ["better", "", "worse", "not certain"]


@pytest.mark.parametrize(("value", "better", "verdict"), [(0.1, None, "differs"), (-0.1, "less", "better"), (0.0, "more", "not certain"),
                                                          (math.nan, "more", "not certain")])
def test_a_verdict_knows_which_way_is_better(value: float, better: str | None, verdict: str) -> None:
    assert judged([compared(0.001, True, value, better)])[0].verdict == verdict


