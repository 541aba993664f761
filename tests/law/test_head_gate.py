"""The head gate: which heads it silences, and what is left of them."""
import pytest
import torch
from torch import Tensor

from mm.attention import AttentionPart, attend, reweighted
from mm.reweight import PAI, HeadGate
from mm.reweight.head_gate import entropy
from mm.tokens import TokenMap
from tests.reweighting import PROMPT, inputs_for
from tests.toys import batch, row


def ratios(q: Tensor, k: Tensor, tokens: TokenMap) -> Tensor:
    """H(text) / H(image) of the last row in each head, [B, H], from its weights written out."""
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    weights = ((q[:, :, -1:] * k).sum(-1) * q.shape[-1] ** -0.5).masked_fill(~tokens.is_real[:, None], -torch.inf).softmax(-1)

    def spread(group: Tensor) -> Tensor:
        share = weights * group[:, None]
        return torch.special.entr(share / share.sum(-1, keepdim=True)).sum(-1)

    return spread(tokens.is_real & ~tokens.is_vision) / spread(tokens.is_vision)


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_heads_below_the_mean_ratio_say_nothing_in_the_last_row(key_heads: int) -> None:
    tokens = row(PROMPT)
    q, k, v = inputs_for(tokens, key_heads=key_heads)
    found, plain = reweighted(q, k, v, [HeadGate(layer=2)], tokens), attend(q, k, v, causal=True).out
    ratio = ratios(q, k, tokens)
    heard = (ratio >= ratio.mean(1, keepdim=True)).double()
    assert 0 < heard.sum() < 4
    torch.testing.assert_close(found[:, :, -1], plain[:, :, -1] * heard.unsqueeze(-1), rtol=0, atol=1e-12)
    assert torch.equal(found[:, :, :-1], plain[:, :, :-1])


def test_a_lower_share_silences_fewer_heads() -> None:
    tokens = row(PROMPT)
    q, k, v = inputs_for(tokens, key_heads=2)
    ratio = ratios(q, k, tokens)[0] / ratios(q, k, tokens).mean()
    share = float(ratio.sort().values[:2].mean())
    found = reweighted(q, k, v, [HeadGate(layer=2, share=share)], tokens)
    assert [head for head in range(4) if not found[0, head, -1].any()] == [int(ratio.argmin())]


def test_a_row_without_an_image_keeps_its_heads() -> None:
    tokens = batch("ss iiii qqqqq", "sqqqqqqq", left=True)
    q, k, v = inputs_for(tokens)
    mask = tokens.is_real[:, None, None] & torch.ones(11, 11, dtype=torch.bool).tril()
    found, plain = reweighted(q, k, v, [HeadGate(layer=2)], tokens, mask=mask), attend(q, k, v, mask).out
    assert not found[0, :, -1].any(-1).all()
    torch.testing.assert_close(found[1], plain[1], rtol=0, atol=1e-12)


def test_later_rules_find_a_silent_head_silent() -> None:
    tokens = row(PROMPT)
    inputs = inputs_for(tokens)
    alone = reweighted(*inputs, [HeadGate(layer=2)], tokens)[:, :, -1]
    both = reweighted(*inputs, [HeadGate(layer=2), PAI(0.5)], tokens)[:, :, -1]
    assert torch.equal(alone.any(-1), both.any(-1))
    assert torch.isfinite(both).all()
    assert not torch.allclose(alone, both, atol=1e-4)


def test_entropy_takes_the_fused_kernel_and_no_weights() -> None:
    """`H = LSE - scale q · sum p k`: one more call with keys for values, for whoever needs it of many rows."""
    q, k, _ = inputs_for(row(PROMPT), key_heads=4)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    part: AttentionPart = attend(q, k, k, need_lse=True)
    assert part.lse is not None
    fused = part.lse - (q * part.out).sum(-1) * q.shape[-1] ** -0.5
    torch.testing.assert_close(fused, entropy(scores, torch.ones(1, dtype=torch.bool)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share is that of the mean ratio"):
        HeadGate(share=share)
