"""Dynamic mask attention: windows on the fused kernel are the dense formula, and rows keep what they want most and never nothing."""
from typing import Any

import pytest
import torch
from torch import Tensor

import mm
from mm.attention import Active, Visibility, attend, reweigh, reweighted
from mm.attention.choice import among_chosen
from mm.attention.rewriting import found_keys, placed
from mm.masks import Causal, ImageBlock, Mask
from mm.reweight import CMAI, DARA, DMA, MODA, PAI, VAR, Rule, ZeroTuning
from mm.reweight.dma import Form
from mm.tokens import TokenMap
from tests.allocation import Largest
from tests.generation import family
from tests.reweighting import dma, inputs_for
from tests.toys import batch, row

EXACT: dict[str, float] = {"rtol": 0, "atol": 1e-12}
TEXT = "ss iiiiii qqqq iiii qqqqqqq"


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five rows."""
    monkeypatch.setattr("mm.attention.choice.ENTRIES", 0)
    monkeypatch.setattr("mm.attention.choice.FEWEST", 5)


def kept_by_hand(rule: DMA, bias: Tensor, seen: Tensor, depth: Tensor) -> Tensor:
    """Row by row, from the definition. bias: [N]; seen: bool [Q, N]; depth: [N]."""
    kept = torch.zeros_like(seen)
    for i, row_ in enumerate(seen):
        keys = row_.nonzero().flatten().tolist()
        best = sorted(keys, key=lambda j: -bias[j].item())[:rule.window]
        if rule.block is not None and len(keys) > 0:
            blocks = {j: int(depth[j]) // rule.block for j in keys}
            wins = {b for b in blocks.values() if 2 * sum(blocks[j] == b for j in best) > sum(blocks[j] == b for j in keys)}
            best = [j for j in keys if blocks[j] in (wins or {blocks[best[0]]})]
        kept[i, best] = True
    return kept


def by_hand(rule: DMA, q: Tensor, k: Tensor, v: Tensor, tokens: TokenMap, seen: Tensor) -> Tensor:
    """Dense, from the formula, with the parameters of layer 2. seen: bool [B, 1, N, N]."""
    assert rule.strength is not None
    assert rule.gate is not None
    out = torch.zeros_like(q)
    for b in range(q.shape[0]):
        for head in range(q.shape[1]):
            shared = head * k.shape[1] // q.shape[1]
            bias = rule.strength[2, shared] * torch.nn.functional.softplus(v[b].transpose(0, 1).flatten(1) @ rule.gate[2, shared])
            visible = kept_by_hand(rule, bias, seen[b, 0], tokens.depth[b])
            scores = q[b, head] @ k[b, shared].T * q.shape[-1] ** -0.5 + bias
            out[b, head] = scores.masked_fill(~visible, -torch.inf).softmax(-1) @ v[b, shared]
    return out


# --- what it computes


@pytest.mark.parametrize("block", [None, 3])
@pytest.mark.parametrize("mask", [None, Causal(), ImageBlock()], ids=["causal", "rule", "image block"])
@pytest.mark.usefixtures("windows")
def test_values_and_gradients_are_those_of_the_formula(mask: Mask | None, block: int | None) -> None:
    tokens, rule, found = batch(TEXT, "s iiii qqq", left=True), dma(block=block).double(), []
    if mask is None:
        tokens = row(TEXT)
    whole = slice(0, tokens.shape[1])
    seen = (mask or Causal()).dense(tokens)
    for engine in (True, False):
        q, k, v = inputs_for(tokens, grad=True)
        if engine:
            out = reweighted(q, k, v, [rule], tokens, mask=None if mask is None else Visibility(mask, tokens, whole, whole))
        else:
            out = by_hand(rule, q, k, v, tokens, seen)
        out = out * tokens.is_real[:, None, :, None]
        found.append([out, *torch.autograd.grad(out.sin().sum(), [q, k, v, rule.strength, rule.gate])])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, **EXACT)
        assert b.abs().max() > 0


def test_a_window_that_holds_all_keys_leaves_a_bias_on_the_plain_kernel() -> None:
    tokens, rule = row(TEXT), dma(window=64).double()
    q, k, v = inputs_for(tokens)
    with torch.no_grad():
        torch.testing.assert_close(reweighted(q, k, v, [rule], tokens), by_hand(rule, q, k, v, tokens, Causal().dense(tokens)), **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.usefixtures("windows")
def test_the_bias_keeps_its_digits_in_low_precision(dtype: torch.dtype) -> None:
    tokens, rule = row(TEXT), dma()
    q, k, v = (x.to(dtype) for x in inputs_for(tokens))
    with torch.no_grad():
        wanted = by_hand(rule.double(), q.double(), k.double(), v.double(), tokens, Causal().dense(tokens))
        found = reweighted(q, k, v, [rule.float()], tokens)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol={torch.float32: 5e-6, torch.bfloat16: 2e-2, torch.float16: 4e-3}[dtype])


def test_equal_tokens_are_kept_or_dropped_together_however_they_were_computed() -> None:
    bias = torch.tensor([[[1.0, 3.0, 3.0 - 1e-6, 2.0, 3.0 + 1e-6, 0.0]]])
    kept = DMA(2).chosen(bias, torch.ones(1, 1, 1, 6, dtype=torch.bool), row("q" * 6))
    assert kept[0, 0, 0].tolist() == [False, True, True, False, True, False]


def test_keys_that_want_it_equally_are_all_kept() -> None:
    """So that a strength of 0, where no key is better than another, hides none of them."""
    tokens, rule = row(TEXT), dma(window=2).double()
    q, k, v = inputs_for(tokens)
    with torch.no_grad():
        rule.strength.zero_()  # type: ignore[union-attr]
        found = among_chosen(mm.attention.Call(q, k, v, None, True, None, tokens, 0), Active(rule, layer=2))
    torch.testing.assert_close(found, attend(q, k, v, causal=True).out, **EXACT)


@pytest.mark.parametrize("form", ["per_query", "keys"])
def test_a_majority_in_no_block_leaves_the_block_of_the_strongest_key(form: Form) -> None:
    """The release leaves nothing."""
    bias = torch.tensor([[[0.0, 3.0, 0.0, 0.0, 8.0, 0.0, 9.0, 0.0, 0.0, 1.0]]])
    kept = DMA(3, block=5, form=form).chosen(bias, torch.ones(1, 1, 1, 10, dtype=torch.bool), row("q" * 10))
    assert kept[0, 0, 0].tolist() == [False] * 5 + [True] * 5


def test_no_row_is_left_with_nothing() -> None:
    tokens = row("q" * 40)
    for seed in range(20):
        bias = torch.randn(1, 2, 40, generator=torch.Generator().manual_seed(seed))
        kept = DMA(4, block=3).chosen(bias, torch.ones(40, 40).tril().bool()[None, None], tokens)
        assert kept.any(-1).all()


# --- layouts of a batch


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.usefixtures("windows")
def test_packed_documents_choose_among_their_own_keys(block: int | None) -> None:
    texts, rule = ["ss iiiiii qqqq", "s iiii qqq jj qqa", "iiiii qq"], dma(block=block).double()
    tokens = row("/".join(texts))
    whole = slice(0, tokens.shape[1])
    q, k, v = inputs_for(tokens)
    with torch.no_grad():
        together = reweighted(q, k, v, [rule], tokens, mask=Visibility(Causal(), tokens, whole, whole))
        for index, text in enumerate(texts):
            here = tokens.document[0] == index
            torch.testing.assert_close(together[:, :, here], reweighted(q[:, :, here], k[:, :, here], v[:, :, here], [rule], row(text)), **EXACT)
    with pytest.raises(ValueError, match="several documents or branches; use form='per_query'"):
        reweighted(q, k, v, [dma(form="keys").double()], tokens)


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.usefixtures("windows")
def test_branches_choose_among_the_keys_of_their_own_path(block: int | None) -> None:
    """So that questions may share a picture."""
    tokens, rule = row("s iiii q jjj 1 qqa 2 qqqqaa"), dma(window=4, block=block).double()
    whole = slice(0, tokens.shape[1])
    q, k, v = inputs_for(tokens)
    with torch.no_grad():
        together = reweighted(q, k, v, [rule], tokens, mask=Visibility(Causal(), tokens, whole, whole))
        for branch, text in ((1, "s iiii q jjj qqa"), (2, "s iiii q jjj qqqqaa")):
            here = (tokens.branch[0] == 0) | (tokens.branch[0] == branch)
            torch.testing.assert_close(together[:, :, here], reweighted(q[:, :, here], k[:, :, here], v[:, :, here], [rule], row(text)), **EXACT)


@pytest.mark.parametrize("learns", [False, True])
def test_rows_by_keys_are_never_held(learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm.attention.choice.ENTRIES", 2**18)
    monkeypatch.setattr("mm.attention.choice.FEWEST", 32)
    tokens, rule = row("q" * 2048), dma(window=100, block=8)
    q, k, v = (x.requires_grad_(learns) for x in inputs_for(tokens, dtype=torch.float32))
    with Largest() as largest, torch.set_grad_enabled(learns):
        out = reweighted(q, k, v, [rule], tokens)
        if learns:
            out.sum().backward()
    assert 0 < largest.bytes < 2048 * 2048  # a mask over rows and keys of one head


# --- in company


@pytest.mark.parametrize("rules", [[PAI(0.3)], [ZeroTuning(0.4)], [PAI(0.3), ZeroTuning(2.0)], [CMAI()]], ids=str)
@pytest.mark.usefixtures("windows")
def test_other_rules_act_on_what_the_choice_leaves(rules: list[Rule]) -> None:
    """As if the choice were the mask and the bias part of the scores."""
    tokens, rule = row(TEXT), dma().double()
    q, k, v = inputs_for(tokens)
    with torch.no_grad():
        found = reweighted(q, k, v, [*rules, rule], tokens)
        choice = mm.attention.choice.Choice(mm.attention.Call(q, k, v, None, True, None, tokens, 0), Active(rule, layer=2))
        wide_q, wide_k, wide_v = choice.channels()
        everything = slice(0, tokens.shape[1])
        actives = [Active(one, one.groups(tokens, 2), one.rows(tokens), None, 2) for one in rules]
        wanted = reweigh(wide_q, wide_k, wide_v, actives, choice.seen(everything, everything.stop), False, q.shape[-1] ** -0.5, tokens, 0)
        torch.testing.assert_close(found, wanted[..., :8], **EXACT)
        assert (found - reweighted(q, k, v, [rule], tokens)).abs().max() > 1e-6


def test_it_acts_on_keys_that_another_rule_has_rewritten() -> None:
    tokens, first = row(TEXT), MODA()
    first.bind(3, 4)
    first.measure(2, 8)
    torch.nn.init.normal_(first.ratio)
    q, k, v = inputs_for(tokens)
    with torch.no_grad():
        first, rule = first.double(), dma().double()
        together = reweighted(q, k, v, [rule, first], tokens)
        found = found_keys(first, first.spans(tokens), 2, k, v)
        assert found is not None
        keys = placed(k, found, 0)
        torch.testing.assert_close(together, by_hand(rule, q, keys, v, tokens, Causal().dense(tokens)), **EXACT)
        assert (keys - k).abs().max() > 1e-3


@pytest.mark.parametrize(("other", "reason"), [
    (DARA(layers=(2,), heads=4), "DARA.* gives the heads that share keys keys of their own"), (dma(window=7), "both choose keys in layer 2")])
def test_what_cannot_act_beside_it_is_refused_with_the_reason(other: Rule, reason: str) -> None:
    tokens = row(TEXT)
    with pytest.raises(ValueError, match=reason):
        reweighted(*(x.float() for x in inputs_for(tokens)), [dma(), other], tokens)


def test_rules_of_other_layers_are_not_in_its_way() -> None:
    tokens = row(TEXT)
    q, k, v = (x.float() for x in inputs_for(tokens))
    with torch.no_grad():
        found = reweighted(q, k, v, [dma(), DARA(layers=(0,), heads=4), VAR((), first_layer=0, last_layer=0)], tokens)
        assert torch.equal(found, reweighted(q, k, v, [dma()], tokens))


@pytest.mark.parametrize(("make", "reason"), [
    (lambda: DMA(0), "numbers of keys, at least 1; got 0 and None"), (lambda: DMA(form="query"), "one of per_query, keys; got 'query'"),  # type: ignore[arg-type]
    (lambda: mm.steer(family("llava").model(), reweight=[dma(layers=2)]).install(), r"\[2, 2, 16\], and the model has \[3, 2, 16\]")])
def test_what_does_not_fit_is_named(make: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make()
