"""Vision-side modules alike: a sample alone is that in a batch, gradients are right, and a description builds it again."""
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mm.parts import build, describe
from mm.vision import EfficientProbing
from mm.vision.attention import DCAL, BilevelRouting, GlobalLocal, Trunk
from tests.double import close, fresh, random

GRID = (4, 6)
MODULES: dict[str, tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]] = {
    "probing": (EfficientProbing(8, 2), lambda m, x: m(x).out),
    "routing": (BilevelRouting(8, 2, windows=2, topk=2, local_kernel=3), lambda m, x: m(x, GRID)),
    "routing, soft, overhanging, averaged": (BilevelRouting(8, 2, windows=3, topk=2, keys_per_window=1, local_kernel=0, routing="soft"),
                                             lambda m, x: m(x, GRID)),
    "global-local": (GlobalLocal(8, 2, share=0.3), lambda m, x: m(x, x.detach().sum(-1)).tokens),
    "trunk": (Trunk(8, depth=2, heads=2), lambda m, x: m(x)[0]),
    "dcal": (DCAL(8, classes=3, depth=2, heads=2), lambda m, x: torch.cat(m(x)[:2], 1)),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_sample_is_the_same_alone_and_among_others(name: str) -> None:
    model, run = MODULES[name]
    fresh(model)
    x, order = random(4, 24, 8), torch.tensor([2, 0, 3, 1])
    close(run(model, x[order]), run(model, x)[order])
    close(run(model, x[1:2]), run(model, x)[1:2])


@pytest.mark.parametrize("name", MODULES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    model, run = MODULES[name]
    fresh(model)
    assert torch.autograd.gradcheck(lambda x: run(model, x), random(1, 24, 8, seed=3).requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_built_again_from_its_description(name: str) -> None:
    model, run = MODULES[name]
    again = build(describe(model)).double()
    again.load_state_dict(fresh(model).state_dict())
    assert torch.equal(run(again, random(2, 24, 8)), run(model, random(2, 24, 8)))
