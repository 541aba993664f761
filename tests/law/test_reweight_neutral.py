"""A rule that is neutral, or does not reach a layer, row or head, is the plain model there."""

import pytest
import torch

from mm.attention import Active, attend, reweigh, reweighted
from mm.reweight import ACT, CMAI, DARA, PAI, PAINT, HeadGate, Rule, ZeroTuning
from tests.reweighting import FORMS, PROMPT, Form, dara, inputs_for, var, var_groups
from tests.toys import row

NEUTRAL: dict[str, Rule] = {
    "var": var(sink_keep=1.0), "act": ACT(sink_keep=1.0), "zerotuning": ZeroTuning(1.0), "dara": DARA(layers=(2,), heads=4), "pai": PAI(0.0),
    "paint": PAINT(0.0, 0.0), "cmai": CMAI(quantile=0.0), "cmai that keeps all": CMAI(keep=1.0),
    "head gate": HeadGate(layer=2, share=0.0)}


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_neutral_rule_is_the_plain_model_to_the_bit(name: str) -> None:
    tokens = row(PROMPT)
    inputs = tuple(x.float() for x in inputs_for(tokens))
    groups = torch.zeros_like(tokens.kind)
    with torch.no_grad():
        found = reweigh(*inputs, [Active(NEUTRAL[name], groups, layer=2)], None, True, None, tokens, 0)
        assert torch.equal(found, attend(*inputs, causal=True).out)


def test_layers_and_rows_that_no_rule_touches_are_the_plain_model_to_the_bit() -> None:
    tokens = row(PROMPT)
    inputs = tuple(x.float() for x in inputs_for(tokens))
    plain = attend(*inputs, causal=True).out
    assert torch.equal(reweighted(*inputs, [PAI(), CMAI(), dara()], tokens, layer=1), plain)
    assert torch.equal(reweighted(*inputs, [CMAI(first_layer=0)], row("qqqq" * 7), layer=1), plain)
    assert torch.equal(reweighted(*inputs, [PAI()], tokens)[:, :, :-1], plain[:, :, :-1])
    groups = var_groups(tokens)
    found = reweigh(*inputs, [Active(var(), groups, tokens.follows_vision)], None, True, None, tokens, 0)
    assert torch.equal(found[:, :, :11], plain[:, :, :11])
    assert not torch.equal(found, plain)


def test_a_head_that_a_rule_does_not_touch_is_plain() -> None:
    tokens = row(PROMPT)
    inputs = inputs_for(tokens)
    found = reweighted(*inputs, [ZeroTuning(0.3, heads=[(2, 1), (3, 0)])], tokens)
    plain = attend(*inputs, causal=True).out
    torch.testing.assert_close(found[:, [0, 2, 3]], plain[:, [0, 2, 3]], rtol=0, atol=1e-12)
    assert (found - plain)[:, 1].abs().max() > 1e-3


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_gate_that_stays_shut_changes_nothing(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    tokens = row(PROMPT)
    inputs = tuple(x.float() for x in inputs_for(tokens))
    shut = Active(var(min_image_mass=1.0), var_groups(tokens), tokens.follows_vision)
    torch.testing.assert_close(reweigh(*inputs, [shut], None, True, None, tokens, 0), attend(*inputs, causal=True).out, rtol=0, atol=1e-6)
