"""Dynamic mask attention: bias, both selections, their blocks and the attention over them are the released code's."""
import pytest
import torch
from torch import Tensor

from mm.attention import reweighted
from mm.reweight import DMA
from mm.reweight.dma import Form
from mm.tokens import TokenMap
from tests.golden import load

CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-6}


def text(length: int) -> TokenMap:
    return TokenMap.text(torch.ones(1, length))


def seen(length: int) -> Tensor:
    return torch.ones(length, length).tril().bool()[None, None]


def recorded(form: Form, block: bool = False) -> DMA:
    golden = load("masks", "dma")
    rule = DMA(int(golden.window), int(golden.block) if block else None, form)
    rule.bind(layers=1, heads=4)
    rule.measure(key_heads=2, width=8)
    with torch.no_grad():
        rule.strength[0], rule.gate[0] = golden.A, golden.dt_weight  # type: ignore[index]
    return rule


def test_the_bias_is_the_original_s() -> None:
    golden = load("masks", "dma")
    torch.testing.assert_close(recorded("keys").bias(0, golden.v), golden.bias.squeeze(2), **CLOSE)


def test_the_choice_is_the_original_s() -> None:
    golden = load("masks", "dma")
    bias, length = golden.bias.squeeze(2), golden.v.shape[2]
    assert torch.equal(recorded("per_query").chosen(bias, seen(length), text(length)), golden.keep_per_query & seen(length))
    every = torch.ones(1, 1, 1, length, dtype=torch.bool)
    assert torch.equal(recorded("keys").chosen(bias, every, text(length)), golden.keep_keys)
    blocks = recorded("keys", block=True).chosen(bias, every, text(length))
    assert torch.equal(blocks[:, 0], golden.keep_keys_block[:, 0])
    assert not golden.keep_keys_block[:, 1].any()  # no block had a majority, and the head was left with nothing
    assert blocks[0, 1, 0].nonzero().flatten().tolist() == [4 * block + i for block in [int(bias[0, 1].argmax()) // 4] for i in range(4)]


def test_the_choice_of_a_second_recording_is_the_original_s() -> None:
    golden = load("longcontext", "dma_topk_mask")
    keep, block = golden.cfg.tolist()
    bias, length = golden.bias.squeeze(2), golden.bias.shape[-1]
    every = torch.ones(1, 1, 1, length, dtype=torch.bool)
    assert torch.equal(DMA(keep, form="keys").chosen(bias, every, text(length)), golden.mask)
    assert torch.equal(DMA(keep, block, "keys").chosen(bias, every, text(length)), golden.mask_block)


@pytest.mark.parametrize("form", ["keys", "per_query"])
def test_attention_over_the_choice_is_the_original_s(form: Form) -> None:
    golden = load("masks", "dma")
    with torch.no_grad():
        found = reweighted(golden.q, golden.k, golden.v, [recorded(form)], text(golden.q.shape[2]), layer=0)
    torch.testing.assert_close(found, getattr(golden, f"out_keep_{form}"), **CLOSE)
