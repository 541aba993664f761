"""Losses on attention maps: what the released codes trip over, and gradients."""
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mm.diffusion.leakage import (
    Objective,
    Term,
    Threshold,
    background_leakage,
    balance,
    disjoint,
    dissimilarity,
    marginal_divergence,
    of_nouns,
    outside,
    peaks,
    unbound,
)

NOUNS = [[2], [4, 5]]


def maps(seed: int = 0, keys: int = 9, side: int = 6, sharp: float = 0.3) -> Tensor:
    """[side, side, keys] in float64, rows that sum to one, soft enough for no peak to reach 1."""
    return (torch.randn(side, side, keys, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * sharp).softmax(-1)


def masks(side: int = 6) -> Tensor:
    left = torch.zeros(side, side, dtype=torch.float64)
    left[:, :2] = 1
    return torch.stack([left, left.flip(1)])


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "balance": lambda seen: balance(seen, NOUNS), "balance_mean": lambda seen: balance(seen, NOUNS, "mean"),
    "disjoint": lambda seen: disjoint(seen, NOUNS), "background": lambda seen: background_leakage(seen, NOUNS, masks()[0]),
    "dissimilarity": lambda seen: dissimilarity(seen, NOUNS, masks()), "outside": lambda seen: outside(seen, NOUNS, masks()),
    "marginal": lambda seen: marginal_divergence(seen, NOUNS, masks()), "unbound": lambda seen: unbound(seen, NOUNS, [[1], [3]]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_finite_differences(name: str) -> None:
    assert torch.autograd.gradcheck(LOSSES[name], maps(side=6).requires_grad_(), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_gives_what_its_pictures_give_alone(name: str) -> None:
    both = torch.stack([maps(0), maps(1)])
    torch.testing.assert_close(LOSSES[name](both), torch.stack([LOSSES[name](maps(0)), LOSSES[name](maps(1))]), rtol=0, atol=1e-14)


def test_trap_the_mean_of_some_saturated_peaks_does_not_raise() -> None:
    sharp = maps()
    sharp[2, 2], sharp[..., 2] = 0, 1.0  # the first noun has every pixel for itself, the second has none
    assert peaks(sharp, NOUNS)[0] == pytest.approx(1)
    assert peaks(sharp, NOUNS)[1] < 0.5
    assert balance(sharp, NOUNS, "mean") == pytest.approx(balance(sharp, NOUNS).item() / 2)


def test_trap_a_single_noun_overlaps_with_none_rather_than_nan() -> None:
    seen = maps().requires_grad_()
    disjoint(seen, [[2]]).backward()
    assert disjoint(seen, [[2]]) == 0
    assert seen.grad is not None
    assert not seen.grad.any()


def test_trap_maps_are_not_scaled_in_place() -> None:
    seen = maps()
    before = seen.clone()
    balance(seen, NOUNS)
    assert torch.equal(seen, before)


def test_trap_a_saturated_peak_has_no_gradient() -> None:
    sharp = maps()
    sharp[..., 2] = 2.0
    sharp.requires_grad_()
    balance(sharp, [[2]]).backward()
    assert sharp.grad is not None
    assert sharp.grad.abs().max() < 1e-12


def test_half_precision_maps_are_judged_in_float32() -> None:
    assert {loss(maps().half()).dtype for loss in LOSSES.values()} == {torch.float32}


def test_a_noun_gets_what_its_tokens_get() -> None:
    seen = maps()
    assert torch.equal(of_nouns(seen, NOUNS)[1], seen[..., 4] + seen[..., 5])


def test_losses_against_masks_are_what_they_say() -> None:
    inside = maps() * 0
    inside[..., 2], inside[..., 4] = masks()
    assert dissimilarity(inside, NOUNS, masks()) == pytest.approx(0)
    assert outside(inside, NOUNS, masks()) == pytest.approx(0)
    assert marginal_divergence(inside, NOUNS, masks()) == pytest.approx(0)
    swapped = masks().flip(0)
    assert dissimilarity(inside, NOUNS, swapped) == pytest.approx(1)
    assert outside(inside, NOUNS, swapped) == pytest.approx(1)
    assert marginal_divergence(inside, NOUNS, swapped) > 1


def test_trap_the_divergence_counts_both_directions_alike() -> None:
    """The released code counts columns half and rows whole."""
    seen = maps()
    turned = marginal_divergence(seen.transpose(0, 1), NOUNS, masks().transpose(1, 2))
    assert turned == pytest.approx(marginal_divergence(seen, NOUNS, masks()).item())


def test_what_is_reached_is_below_every_threshold() -> None:
    objective = Objective((Term("a", lambda seen: seen[0], 1.0, Threshold(0.5, 25)), Term("b", lambda seen: seen[1], 0.1, Threshold(0.5, 25)),
                           Term("c", lambda seen: seen[2], 2.0), Term("off", lambda seen: seen[9], 0.0, Threshold(0.0, 25))))
    assert objective.names == ("a", "b", "c")
    assert objective.total(objective.losses(torch.tensor([1.0, 2.0, 3.0]))) == pytest.approx(1 + 0.2 + 6)
    assert objective.reached(torch.tensor([0.4, 0.4, 9.0]), 0, 50)
    assert not objective.reached(torch.tensor([0.4, 0.5, 0.0]), 0, 50)
    assert not objective.reached(torch.tensor([0.4, 0.4, 9.0]), 25, 50)


def test_a_threshold_ends_alike_in_runs_of_any_length() -> None:
    assert Threshold(0.7, 50).at(20, 20) == pytest.approx(Threshold(0.7, 50).at(50))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: peaks(maps(), [[0]]), "no words"), (lambda: peaks(maps(), [[8]]), "no words"), (lambda: disjoint(maps(), [[9]]), "9 keys"),
    (lambda: disjoint(maps(), []), "no nouns"), (lambda: disjoint(maps(), [[]]), "noun 0"),
    (lambda: background_leakage(maps(), NOUNS, torch.ones(3, 3)), "expected the same"), (lambda: outside(maps(), NOUNS, masks()[:1]), "expected"),
    (lambda: outside(maps(), NOUNS, masks() * 0), "empty"), (lambda: unbound(maps(), NOUNS, [[1]]), "1 adjectives"),
    (lambda: Objective((Term("a", torch.sum, 0.0),)), "nothing to learn"), (lambda: Threshold(1.0, 0.0), "above 0"),
], ids=["start", "padding", "beyond", "none", "empty_noun", "background", "masks", "empty_mask", "adjectives", "weights", "alpha"])
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
