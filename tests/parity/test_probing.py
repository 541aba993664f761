"""Efficient probing against the original code."""
import pytest

from mm.vision import EfficientProbing
from tests.golden import close, load, weights


@pytest.mark.parametrize("case", ["ep_a", "ep_b"])
def test_efficient_probing_equals_the_original(case: str) -> None:
    golden = load("projectors", case)
    stored = weights(golden)
    model = EfficientProbing(golden.x.shape[-1], int(golden.num_queries), int(golden.d_out), bias="v.bias" in stored)
    model.load_state_dict({"query": stored.pop("cls_token")[0], **{name.replace("v.", "value."): value for name, value in stored.items()}})
    found = model(golden.x)
    close(found.out, golden.y)
    close(found.attention, golden.attn)
