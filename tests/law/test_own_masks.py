"""A causal lever is causal also in models whose own mask is not."""
from typing import Any

import pytest
import torch
from torch import Tensor

import mm
from mm.masks import Causal
from tests.dense import Dense, by_hand, causal
from tests.families import FAMILIES
from tests.generation import answers, dense_ids, generate
from tests.toys import STATIC


@pytest.mark.parametrize("settings", [{}, STATIC], ids=["dynamic", "static"])
@pytest.mark.parametrize("name", ["paligemma", "gemma3"])
def test_a_causal_mask_is_causal_also_where_the_model_s_own_is_not(name: str, settings: dict[str, Any]) -> None:
    toy = FAMILIES[name]
    model, inputs = toy.model(), toy.inputs(["ssIqqq"])
    n = inputs["input_ids"].shape[1]
    with torch.no_grad(), mm.steer(model, mask=Causal()):
        found = model(**inputs).logits
        generated = answers(generate(model, inputs, **settings))[0]
    window = model.config.get_text_config().sliding_window if name == "gemma3" else None
    visible = causal(n + 8)
    with torch.no_grad(), by_hand(model, Windowed(visible, window)):
        torch.testing.assert_close(found, model(**inputs).logits, rtol=0, atol=1e-4)
    assert torch.equal(generated, dense_ids(model, inputs, Windowed(visible, window)))
    with torch.no_grad():
        assert (found - model(**inputs).logits).abs().max() > 1e-2


class Windowed(Dense):
    """The first layer slides, as the toy Gemma 3's does."""

    def __init__(self, visible: Tensor, window: int | None) -> None:
        super().__init__(visible)
        self.whole, self.window = visible, window

    def __call__(self, module: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
        n = len(self.whole)
        slides = self.window is not None and module.layer_idx == 0
        self.visible = self.whole & (torch.arange(n)[:, None] - torch.arange(n) < self.window) if slides else self.whole
        return super().__call__(module, *args, **kwargs)
