"""The losses of Dynamic Prompt Learning and its background, on numbers recorded from the released code."""
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mm.diffusion.dynamic.regions import owners, union
from mm.diffusion.leakage import Objective, Term, Threshold, background_leakage, balance, disjoint, peaks
from tests.golden import load

LOSSES, REGIONS = load("diffusion", "dpl_losses"), load("diffusion", "dpl_cluster2noun")
CASES = ["two", "three_late", "mean"]


def stored(golden: Any, case: str, name: str) -> Tensor:
    return vars(golden)[f"{case}/{name}"]


def meta(golden: Any, case: str) -> dict[str, Any]:
    return json.loads(golden.meta)[case]


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_each_loss_equals_the_original(case: str) -> None:
    about = meta(LOSSES, case)
    maps, nouns, background = stored(LOSSES, case, "A"), [[token] for token in about["indices"]], stored(LOSSES, case, "BG")[0]
    close(peaks(maps, nouns), stored(LOSSES, case, "max_smooth"))
    close(balance(maps, nouns, about["loss_type"]), stored(LOSSES, case, "attn_balance"))
    close(balance(maps, nouns, "mean"), stored(LOSSES, case, "attn_balance_mean"))
    close(background_leakage(maps, nouns, background), stored(LOSSES, case, "bg_leak"))
    close(disjoint(maps, nouns), stored(LOSSES, case, "disjoint"))


@pytest.mark.parametrize("case", CASES)
def test_the_total_and_its_gradient_equal_the_original(case: str) -> None:
    about = meta(LOSSES, case)
    nouns, background = [[token] for token in about["indices"]], stored(LOSSES, case, "BG")[0]
    maps = stored(LOSSES, case, "A").clone().requires_grad_()
    weights = about["lam"]
    objective = Objective((Term("balance", lambda seen: balance(seen, nouns, about["loss_type"]), weights[0]),
                           Term("background", lambda seen: background_leakage(seen, nouns, background), weights[1]),
                           Term("disjoint", lambda seen: disjoint(seen, nouns), weights[2])))
    total = objective.total(objective.losses(maps))
    total.backward()
    close(total.detach(), stored(LOSSES, case, "total"))
    assert maps.grad is not None
    close(maps.grad, stored(LOSSES, case, "grad"))


@pytest.mark.parametrize("case", CASES)
def test_thresholds_equal_the_original(case: str) -> None:
    about = meta(LOSSES, case)
    found = [Threshold(beta, alpha).at(about["step"]) for alpha, beta in zip(about["alpha"], about["beta"], strict=True)]
    assert found == pytest.approx(stored(LOSSES, case, "thresholds").tolist(), abs=1e-12)


@pytest.mark.parametrize("case", ["a", "b"])
def test_clusters_go_to_the_nouns_of_the_original(case: str) -> None:
    about, labels = meta(REGIONS, case), stored(REGIONS, case, "clusters").long()
    nouns = stored(REGIONS, case, "A").movedim(-1, 0)[[place + 1 for place, _ in about["nouns"]]]
    owner = owners(labels, nouns, about["threshold"])
    assert owner.tolist() == stored(REGIONS, case, "label").tolist()
    background = np.unpackbits(stored(REGIONS, case, "bg").numpy(), axis=-1).astype(bool)
    assert torch.equal(union(labels, owner), torch.from_numpy(background))
