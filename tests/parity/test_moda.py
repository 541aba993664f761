"""MODA's aligner: image keys of the released code, over heads that share keys and heads that do not."""
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mm.attention import reweighted
from mm.attention.rewriting import found_keys, placed
from mm.reweight import MODA
from mm.tokens import Kind, Role, TokenMap
from tests.golden import load


def tokens_of(image: Tensor) -> TokenMap:
    """Images where the flag says, all other tokens text of a prompt, as the release takes them."""
    text = TokenMap.text(torch.ones_like(image))
    return replace(text, kind=torch.where(image, int(Kind.VISION), text.kind), media=torch.where(image, 0, -1),
                   role=torch.full_like(text.role, Role.QUESTION))


def recorded(golden: Any) -> MODA:
    rule = MODA()
    rule.bind(layers=2, heads=6)
    rule.measure(key_heads=golden.k.shape[1], width=golden.k.shape[3])
    assert rule.ratio is not None
    assert rule.map is not None
    with torch.no_grad():
        rule.ratio[1] = golden.ratio_v.flatten()
        rule.map[1] = golden.pfuser_v
    return rule


def test_keys_are_the_original_s() -> None:
    golden = load("masks", "moda_align")
    rule = recorded(golden)
    found = found_keys(rule, rule.spans(tokens_of(golden.vision_flag)), 1, golden.k, golden.v)
    assert found is not None
    keys = placed(golden.k, found, 0)
    torch.testing.assert_close(keys, golden.aligned_k, rtol=0, atol=1e-6)
    text = ~golden.vision_flag[:, None].expand(-1, 3, -1)
    assert torch.equal(keys[text], golden.k[text])
    assert (keys - golden.k).abs().max() > 0.1


def test_heads_that_share_keys_share_the_rewritten_ones() -> None:
    """The release repeats keys first; before repetition there is half of the work."""
    golden = load("masks", "moda_align")
    rule, tokens = recorded(golden), tokens_of(golden.vision_flag)
    q = torch.randn(2, 6, 10, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        shared = reweighted(q, golden.k, golden.v, [rule], tokens, layer=1)
        repeated = reweighted(q, golden.aligned_k.repeat_interleave(2, 1), golden.v.repeat_interleave(2, 1), [], tokens, layer=1)
    torch.testing.assert_close(shared, repeated, rtol=0, atol=1e-6)
