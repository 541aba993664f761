"""PAINT against the vectors of its released code: the token sets of a picture, and the newest row under them."""
import torch

from mm.attention import reweighted
from mm.reweight import PAINT, token_sets
from mm.reweight.paint import LOCAL, SUMMARY
from tests.golden import load
from tests.toys import row


def test_token_sets_are_those_of_the_original() -> None:
    golden = load("reweight", "paint")
    sets = token_sets(golden.vit_attn_first, golden.vit_attn_penult, float(golden.local_ratio))[0]
    assert (sets == LOCAL).nonzero().flatten().tolist() == sorted(golden.local_tokens.tolist())
    assert (sets == SUMMARY).nonzero().flatten().tolist() == sorted(golden.summary_tokens.tolist())


def test_the_newest_row_is_that_of_the_original() -> None:
    golden = load("reweight", "paint")
    start, size, length = int(golden.img_start), int(golden.n_vis), golden.q.shape[2]
    tokens = row("s" * start + "i" * size + "q" * (length - start - size))
    rule = PAINT(float(golden.alpha), float(golden.beta)).on(token_sets(golden.vit_attn_first, golden.vit_attn_penult, float(golden.local_ratio)))
    found = reweighted(golden.q, golden.k, golden.v, [rule], tokens)
    torch.testing.assert_close(found, golden.out, rtol=0, atol=1e-6)
    weights = reweighted(golden.q, golden.k, torch.eye(length).expand(1, 4, -1, -1), [rule], tokens)[:, :, -1]
    torch.testing.assert_close(weights, golden.attn_last, rtol=0, atol=1e-6)
    assert torch.equal(found[:, :, :-1], reweighted(golden.q, golden.k, golden.v, [], tokens)[:, :, :-1])
