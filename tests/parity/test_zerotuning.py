"""ZeroTuning against the vectors of its released code."""
import pytest
import torch

from mm.attention import Active
from mm.reweight import ZeroTuning
from tests.golden import load
from tests.parity.engine import through_engine
from tests.toys import batch


def test_first_token_of_some_heads() -> None:
    golden = load("reweight", "zerotuning")
    tokens = batch("q" * 20, "q" * 20)
    rule = ZeroTuning(float(golden.rate), [(0, int(head)) for head in golden.heads])
    out = through_engine(golden.attn_in, [Active(rule, rule.groups(tokens, 0), heads=rule.head_mask(0, 6))], tokens)
    torch.testing.assert_close(out, golden.attn_out_first_token, rtol=0, atol=1e-7)


@pytest.mark.parametrize("layer", [0, 3])
def test_span_of_all_heads(layer: int) -> None:
    golden = load("reweight", "zerotuning")
    tokens = batch("q" * 20, "q" * 20)
    rule = ZeroTuning(float(golden.rate), span=tuple(golden.span.tolist()))
    out = through_engine(golden.attn_in, [Active(rule, rule.groups(tokens, layer), heads=rule.head_mask(layer, 6))], tokens)
    torch.testing.assert_close(out, golden.attn_out_span_all_heads, rtol=0, atol=1e-7)
