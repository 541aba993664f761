"""What a pretrained model cannot hold is refused before anything is changed, with the reason."""
from collections.abc import Sequence
from typing import Any

import pytest

import mm
from mm.masks import Prefix
from mm.positions import Concentric
from mm.reweight import PAI
from tests.families import FAMILIES


def refusals() -> Sequence[tuple[str, dict[str, Any], str]]:
    return [
        ("llava", {"reweight": [PAI(last_layer=31)]}, "model has layers 0 to 1"),
        ("qwen2_5_vl", {"positions": Concentric()}, r"\(time, row, column\)"),
        ("llava", {"keep": mm.keep.VMTC(2, 1)}, "build a mm.VLM"),
    ]


@pytest.mark.parametrize(("name", "levers", "reason"), refusals())
def test_what_cannot_hold_is_refused_with_the_reason(name: str, levers: dict[str, Any], reason: str) -> None:
    model = FAMILIES[name].model()
    with pytest.raises((ValueError, TypeError), match=reason):
        mm.steer(model, **levers).install()
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_flash_attention_is_refused_for_a_plan_that_is_not_causal() -> None:
    model = FAMILIES["llava"].model()
    model.config.text_config._attn_implementation_internal = "flash_attention_2"
    with pytest.raises(ValueError, match="attn_implementation='sdpa'"):
        mm.steer(model, mask=Prefix()).install()
