"""What the laboratory calls certain."""
import numpy as np
import pytest

from eval.frame.paired import holm
from eval.laboratory.comparing import compare, judged
from eval.laboratory.crossed import crossed
from eval.laboratory.measures import of_split

MEASURE = of_split("random")


def rows(correct: np.ndarray) -> list[list[dict[str, object]]]:
    """Judged rows of each seed: correct [seeds, pictures, questions]."""
    return [[{"id": f"{p}/{i}", "picture": f"p{p}", "split": "random", "correct": bool(right)} for p, questions in enumerate(of_seed)
             for i, right in enumerate(questions)] for of_seed in correct]


def answered(rng: np.random.Generator, pictures: int = 80, gain: float = 0.0, by_seed: float = 0.0) -> tuple:
    """Answers under three seeds that are right seven times in ten, and others that are by `gain` more often, under each seed by `by_seed` off it."""
    shift = gain + by_seed * rng.standard_normal((3, 1, 1))
    draw = rng.random((2, 3, pictures, 4))
    return rows(draw[0] < 0.7), rows(draw[1] < 0.7 + shift)


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_same_answers_differ_by_nothing() -> None:
    before, _ = answered(np.random.default_rng(0))
    found = compare("a", "b", MEASURE, before, before)
    assert (found.value, found.low, found.high, found.p, found.mcnemar) == (0.0, 0.0, 0.0, 1.0, 1.0)
    assert judged([found], [MEASURE])[0].verdict == "not significant"


def test_a_planted_gain_is_found_and_a_loss_is_its_mirror() -> None:
    before, after = answered(np.random.default_rng(0), gain=0.15)
    gain, loss = judged([compare("a", "b", MEASURE, before, after), compare("b", "a", MEASURE, after, before)], [MEASURE])
    assert gain.low < 0.15 < gain.high
    assert gain.low > 0
    assert (gain.verdict, loss.verdict) == ("helps", "harms")
    assert loss.value == -gain.value
    assert len(gain.by_seed) == 3
    assert np.mean(gain.by_seed) == pytest.approx(gain.value)


def test_seeds_that_disagree_widen_the_interval() -> None:
    one = np.full((3, 50, 2), 1.0)
    one[..., 0] = 0.5
    agree, disagree = one.copy(), one.copy()
    agree[..., 0] += 0.1
    disagree[..., 0] += np.array([0.3, 0.1, -0.1])[:, None]
    steady, shaken = crossed(one, agree), crossed(one, disagree)
    assert steady.value == pytest.approx(shaken.value)
    assert steady.low == pytest.approx(0.1)
    assert shaken.low < 0 < shaken.high
    assert shaken.p > 0.05 > steady.p


def test_one_seed_is_a_bootstrap_over_pictures() -> None:
    rng = np.random.default_rng(1)
    sums = np.ones((2, 1, 400, 2))
    sums[..., 0] = rng.random((2, 1, 400)) < 0.6
    found = crossed(sums[0], sums[1], draws=4000)
    spread = (sums[1, 0, :, 0] - sums[0, 0, :, 0]).std() / 20
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.06)


@pytest.mark.parametrize(("by_seed", "most"), [(0.0, 0.05), (0.08, 0.25)])
def test_chance_is_called_certain_about_as_rarely_as_the_module_says(by_seed: float, most: float) -> None:
    """On the safe side of five in a hundred where seeds agree, not so where three seeds differ by much."""
    rng = np.random.default_rng(2)
    found = [compare("a", "b", MEASURE, *answered(rng, pictures=40, by_seed=by_seed)).p for _ in range(100)]
    assert np.mean(np.array(found) < 0.05) <= most


def test_a_ratio_that_nothing_can_be_divided_by_is_no_finding() -> None:
    nothing = np.zeros((2, 5, 2))
    found = crossed(nothing, nothing)
    assert np.isnan(found.value)
    assert found.p == 1.0


def test_sums_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="two arrays"):
        crossed(np.zeros((3, 4, 2)), np.zeros((3, 5, 2)))
