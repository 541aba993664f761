"""Under rules, too, the layout of a batch does not matter: decoding, padding, packing, and what came before."""
import pytest
import torch
from torch import Tensor

from mm.attention import Active, Visibility, reweigh, reweighted
from mm.masks import Causal
from mm.reweight import ACT, PAI, VAR
from mm.tokens import TokenMap
from tests.reweighting import FORMS, PROMPT, RULES, Form, active, inputs_for
from tests.toys import batch, row

ANSWERED = PROMPT + "aaaa"
SINGLES = ["ss iiiiii qqqqqqq", "s iiii qqq jjjj qqqqq", "qqqqqqqqqqqq", "iiiiiiiiii qqqqq"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rules", RULES)
def test_a_decoding_step_is_the_row_of_one_forward_pass(rules: str, form: Form, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups are found when the prompt is read; decoded keys join the decoded group, and groups of the prompt stay."""
    form(monkeypatch)
    prompt, tokens = row(PROMPT), row(ANSWERED)
    q, k, v = (x.to(dtype) for x in inputs_for(tokens))
    chosen = RULES[rules](prompt)
    groups = [active(rule, prompt).groups for rule in chosen]

    def read(start: int, stop: int) -> Tensor:
        upto = tokens[:, :stop]
        actives = [Active(rule, found, rule.rows(upto)[:, start:], rule.head_mask(2, 4), 2) for rule, found in zip(chosen, groups, strict=True)]
        return reweigh(q[:, :, start:stop], k[:, :, :stop], v[:, :, :stop], actives, None, stop - start > 1, None, upto, start)

    whole = read(0, 32)
    tolerance = {torch.float64: 1e-12, torch.bfloat16: 4e-2}[dtype]
    for start, stop in ((0, 28), (28, 29), (29, 30), (30, 31), (31, 32)):
        torch.testing.assert_close(read(start, stop), whole[:, :, start:stop], rtol=0, atol=tolerance)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("rules", RULES)
def test_a_padded_batch_is_its_rows_alone(rules: str, left: bool, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    tokens = batch(*SINGLES, left=left)
    whole = slice(0, tokens.shape[1])
    together = inputs_for(tokens)
    chosen = RULES[rules](tokens)
    groups = [active(rule, tokens).groups for rule in chosen]
    out = reweigh(*together, [Active(rule, found, rule.rows(tokens), rule.head_mask(2, 4), 2) for rule, found in zip(chosen, groups, strict=True)],
                  Visibility(Causal(), tokens, whole, whole), False, None, tokens, 0)
    for index, text in enumerate(SINGLES):
        alone = row(text)
        real = tokens.is_real[index]
        inputs = [x[index:index + 1, :, real] for x in together]
        actives = [Active(rule, None if found is None else found[index:index + 1, ..., real], rule.rows(alone), rule.head_mask(2, 4), 2)
                   for rule, found in zip(chosen, groups, strict=True)]
        torch.testing.assert_close(out[index:index + 1, :, real], reweigh(*inputs, actives, None, True, None, alone, 0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rules", ["var", "zerotuning", "pai", "cmai", "dara", "three that move mass"])
def test_packed_documents_do_not_see_each_other(rules: str, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    texts = ["ss iiiiii qqqq", "s iiii qqq jj qqa", "iiiii qq"]
    tokens = row("/".join(texts))
    whole = slice(0, tokens.shape[1])
    together = inputs_for(tokens)
    chosen = RULES[rules](tokens)
    out = reweigh(*together, [active(rule, tokens) for rule in chosen], Visibility(Causal(), tokens, whole, whole), False, None, tokens, 0)
    for index, text in enumerate(texts):
        here = tokens.document[0] == index
        alone = row(text)
        found = reweigh(*(x[:, :, here] for x in together), [active(rule, alone) for rule in chosen], None, True, None, alone, 0)
        torch.testing.assert_close(out[:, :, here], found, rtol=0, atol=1e-12)


def test_the_second_sample_does_not_remember_the_first() -> None:
    """The released code of VAR does: sinks and rows of a process's first picture stay for all that follow."""
    first, second = row("sss iiiiiiii qqqqq"), row("s iiiiii qqqqqqqqqq")
    rules = [VAR(sink_channels=(1, 2), threshold=3.0, min_image_mass=0.01, max_sink_share=0.9), ACT(threshold=0.05), PAI()]
    generator = torch.Generator().manual_seed(0)
    states = {tokens: torch.randn(1, tokens.shape[1], 512, generator=generator) for tokens in (first, second)}
    for tokens, sinks in ((first, [0, 4]), (second, [0, 2, 5])):
        states[tokens][0, sinks, 1] = 400.0
    inputs = {tokens: inputs_for(tokens) for tokens in (first, second)}

    def run(tokens: TokenMap) -> Tensor:
        return reweighted(*inputs[tokens], rules, tokens, hidden=states[tokens])

    alone = run(second)
    assert not torch.allclose(alone, reweighted(*inputs[second], rules[1:], second), atol=1e-6)
    run(first)
    assert torch.equal(run(second), alone)
