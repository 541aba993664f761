"""Rules inside attention: every form is the dense reference, in values, gradients and low precision."""
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mm.attention import Active, Call, Visibility, column_means, reweigh, reweighted
from mm.masks import Causal, ImageBlock
from mm.reweight import ACT, DARA, PAI, LogitScale, ZeroTuning
from mm.tokens import TokenMap
from tests.reweighting import FORMS, PROMPT, RULES, Form, PerHead, Quadratic, active, causal, channelled, dara, dense, inputs_for, var
from tests.toys import batch, row


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rules", RULES)
def test_every_form_is_the_dense_composition_in_list_order(rules: str, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    tokens = row(PROMPT)
    for key_heads, mask in ((4, None), (2, None), (2, Visibility(ImageBlock(), tokens, slice(0, 28), slice(0, 28))), (2, causal(tokens))):
        inputs = inputs_for(tokens, key_heads=key_heads)
        actives = [active(rule, tokens) for rule in RULES[rules](tokens)]
        seen = mask.dense() if isinstance(mask, Visibility) else causal(tokens)
        wanted = dense(*inputs, actives, tokens, seen)
        assert (wanted - dense(*inputs, [], tokens, seen)).abs().max() > 1e-3
        found = reweigh(*inputs, actives, mask, mask is None, None, tokens, 0)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rules", [name for name in RULES if not name.startswith("cmai")])
def test_gradients_of_every_form_are_those_of_the_dense_composition(rules: str, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through masses, gates strictly open or shut, and factors that are learned."""
    form(monkeypatch)
    tokens = row(PROMPT)
    found = []
    for engine in (True, False):
        inputs = inputs_for(tokens, seed=3, grad=True)
        chosen = RULES[rules](tokens)
        actives = [active(rule, tokens) for rule in chosen]
        out = reweigh(*inputs, actives, None, True, None, tokens, 0) if engine else dense(*inputs, actives, tokens, causal(tokens))
        learned = [rule.factor for rule in chosen if isinstance(rule, DARA) and rule.factor is not None]
        found.append(torch.autograd.grad((out.sin() * torch.linspace(-1, 1, out.numel()).view_as(out)).sum(), [*inputs, *learned]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
        assert b.abs().max() > 0


@pytest.mark.parametrize("rules", ["zerotuning", "a span"])
def test_constant_weights_are_channels_of_one_plain_call(rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    channelled(monkeypatch)
    tokens = row(PROMPT)
    found = []
    for engine in (True, False):
        inputs = inputs_for(tokens, seed=4, value_width=5, grad=True)
        actives = [active(rule, tokens) for rule in (*RULES[rules](tokens), ZeroTuning(1.7, span=(3, 9)))]
        out = reweigh(*inputs, actives, None, True, None, tokens, 0) if engine else dense(*inputs, actives, tokens, causal(tokens))
        found.append([out, *torch.autograd.grad(out.sin().sum(), inputs)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("form", [*FORMS, channelled], ids=lambda form: form.__name__)
def test_in_low_precision_masses_stay_precise(form: Form, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    tokens = row(PROMPT)
    inputs = tuple(x.to(dtype) for x in inputs_for(tokens))
    tolerance = {torch.float32: 5e-6, torch.bfloat16: 2e-2, torch.float16: 4e-3}[dtype]
    for rules in ([ZeroTuning(0.05)], [PerHead(), ZeroTuning(0.4)], [PAI(0.3)]):
        actives = [active(rule, tokens) for rule in rules]  # type: ignore[attr-defined]
        found = reweigh(*inputs, actives, None, True, None, tokens, 0)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), dense(*inputs, actives, tokens, causal(tokens)), rtol=0, atol=tolerance)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_sink_that_holds_nearly_everything_costs_no_digits(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is multiplied by thousands; taking the sink's part off the whole would leave noise."""
    form(monkeypatch)
    tokens = row("..." + "q" * 40)
    mask = Visibility(Causal(), tokens, slice(0, 43), slice(0, 43))
    q, k, v = (x.float() for x in inputs_for(tokens, key_heads=2))
    k[:, :, 8] = 0.0
    k[:, :, 8, 0] = 14.0
    q[..., 0] = 3.0
    groups = torch.zeros(1, 4, 43, dtype=torch.long)
    groups[..., 8] = 1
    groups[:, 3, 9] = 1
    one = Active(ACT(0.1), groups)
    for seen in (causal(tokens), mask.dense()):
        mass = dense(q, k, torch.eye(43).expand(1, 2, -1, -1), [], tokens, seen)[:, :3, 9:, 8]
        assert mass.median() > 0.999
        found = reweigh(q, k, v, [one], mask if seen[0, 0, 3, :3].sum() == 0 else None, seen[0, 0, 3, 0].item(), None, tokens, 0)
        torch.testing.assert_close(found.double(), dense(q, k, v, [one], tokens, seen), rtol=0, atol=5e-6)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rules", ["var", "act", "zerotuning", "a span", "dara", "pai", "paint", "cmai"])
def test_rows_still_sum_to_one(rules: str, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    tokens = row(PROMPT)
    q, k, v = inputs_for(tokens)
    out = reweigh(q, k, torch.ones_like(v), [active(rule, tokens) for rule in RULES[rules](tokens)], None, True, None, tokens, 0)
    torch.testing.assert_close(out, torch.ones_like(out), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rules", ["var", "act", "zerotuning", "smooth, per head", "dara", "pai", "paint"])
def test_keys_may_stand_in_any_order(rules: str) -> None:
    """With their groups: what the last row computes does not depend on where a key is."""
    tokens = row(PROMPT)
    q, k, v = inputs_for(tokens, queries=1)
    actives = [active(rule, tokens, queries=1) for rule in RULES[rules](tokens)]
    order = torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(0))
    shuffled = [replace(one, groups=None if one.groups is None else one.groups[..., order]) for one in actives]
    found = reweigh(q, k, v, actives, None, False, None, tokens, 27)
    torch.testing.assert_close(reweigh(q, k[:, :, order], v[:, :, order], shuffled, None, False, None, tokens, 27), found, rtol=0, atol=1e-12)


def test_column_means_are_those_of_the_matrix() -> None:
    tokens = batch("ss iiii qqqqq", "s iiiiiiii qqqq", left=True)
    length = tokens.shape[1]
    q, k, v = inputs_for(tokens)
    seen = Causal().dense(tokens)
    weights = dense(q, k, torch.eye(length, dtype=torch.float64).expand(2, 4, -1, -1), [], tokens, seen)
    wanted = weights.sum(2) / seen.sum(2)
    for mask in (seen, Visibility(Causal(), tokens, slice(0, length), slice(0, length))):
        call = Call(q, k, v, mask, False, None, tokens, 0)
        torch.testing.assert_close(column_means(call), wanted, rtol=0, atol=1e-12)
        some = column_means(call, torch.tensor([False, True, False, True]))
        torch.testing.assert_close(some[:, [1, 3]], wanted[:, [1, 3]], rtol=0, atol=1e-12)
        assert (some[:, [0, 2]] == 0).all()


def test_under_autocast_a_rule_computes_on_what_the_plain_kernel_would() -> None:
    tokens = row(PROMPT)
    inputs = tuple(x.float() for x in inputs_for(tokens))
    for rules in ([var()], [PAI(0.3)], [dara()], [Quadratic()]):
        actives = [active(rule, tokens) for rule in rules]  # type: ignore[attr-defined]
        with torch.autocast("cpu", torch.bfloat16):
            found = reweigh(*inputs, actives, None, True, None, tokens, 0)
        assert torch.equal(found, reweigh(*(x.bfloat16() for x in inputs), actives, None, True, None, tokens, 0))


def test_what_does_not_fit_is_named() -> None:
    tokens = row(PROMPT)
    q, k, v = inputs_for(tokens)
    one = Active(Quadratic(), Quadratic().groups(tokens, 2))
    with pytest.raises(ValueError, match="do not reach from the first of 28 keys"):
        reweigh(q, k, v, [one], None, True, None, tokens[:, 1:], 0)
    with pytest.raises(ValueError, match=r"the rows of Quadratic\(\) are \(1, 27\), and the call has 1 rows of 28 queries"):
        reweigh(q, k, v, [replace(one, rows=tokens.is_real[:, 1:])], None, True, None, tokens, 0)
    with pytest.raises(ValueError, match=r"the groups of Quadratic\(\) are \(3, 28\), and the call has 1 rows"):
        reweigh(q, k, v, [replace(one, groups=one.groups.expand(3, -1))], None, True, None, tokens, 0)  # type: ignore[union-attr]

    class Outside(Quadratic):
        def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
            return tokens.index

    with pytest.raises(ValueError, match="gave groups from 0 to 27; it has groups 0 to 2"):
        reweighted(q, k, v, [Outside()], tokens)

    class Floating(Quadratic):
        def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
            return tokens.index.float()

    with pytest.raises(ValueError, match=r"gave groups torch.float32 \(1, 28\)"):
        reweighted(q, k, v, [Floating()], tokens)


def test_a_key_that_outgrows_half_precision_is_an_error_and_not_a_nan() -> None:
    tokens = row(PROMPT)
    q, k, v = (x.half() for x in inputs_for(tokens))
    k[:, :, 5] = 5e4
    rule = dara()
    assert isinstance(rule, LogitScale)
    with pytest.raises(OverflowError, match="which float16 cannot hold; run the model in bfloat16"):
        reweigh(q, k, v, [active(rule, tokens)], None, True, None, tokens, 0)
