"""Every mask with its positions, end to end in a small decoder: company changes nothing, decoding goes on, answers stay unseen, gradients are exact.
"""
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from mm.masks import Causal, Mask, PositionCausal
from mm.models.steer import steer
from mm.positions import Concentric, Positions, Restart
from mm.tokens import Role, TokenMap
from tests.levers import LEVERS, assert_company_changes_nothing, each
from tests.toys import FAMILIES, STATIC, VOCABULARY, alone, batch, ids_for, random_tokens, row, tiny

CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}
SHARING = [(mask, positions) for mask, positions in LEVERS if mask.shares_image_prefix]


def logits(model: PreTrainedModel, ids: Tensor, tokens: TokenMap, mask: Mask, positions: Positions) -> Tensor:
    with steer(model, mask=mask, positions=positions, tokens=tokens):
        return model(input_ids=ids, attention_mask=tokens.is_real.long(), use_cache=False).logits


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("mask", "positions"), each(LEVERS))
def test_packed_branched_and_padded_rows_equal_single_samples(mask: Mask, positions: Positions, family: str) -> None:
    model = tiny(family)
    assert_company_changes_nothing(mask, random_tokens(7), lambda ids, tokens: logits(model, ids, tokens, mask, positions))


@pytest.mark.parametrize(("mask", "positions"), each(LEVERS))
def test_left_padding_equals_right_padding(mask: Mask, positions: Positions) -> None:
    model = tiny()
    left, right = (batch("siiiiqaqa", "iijjqa", left=side) for side in (True, False))
    ids = ids_for(right)
    shifted = torch.cat([ids[:1], ids[1:].roll(3, 1)])
    with torch.no_grad():
        a, b = (logits(model, given, tokens, mask, positions) for given, tokens in ((shifted, left), (ids, right)))
    torch.testing.assert_close(a[left.is_real], b[right.is_real], **CLOSE)


@pytest.mark.parametrize("settings", [{}, STATIC], ids=["dynamic", "static"])
@pytest.mark.parametrize(("mask", "positions"), each(LEVERS))
def test_decoding_equals_one_forward_over_the_whole(mask: Mask, positions: Positions, settings: dict[str, Any]) -> None:
    model, prompt = tiny(), batch("siiiiq", "iiqaq", left=True)
    with torch.no_grad(), steer(model, mask=mask, positions=positions, tokens=prompt):
        made = model.generate(ids_for(prompt), attention_mask=prompt.is_real.long(), max_new_tokens=5, do_sample=False, output_logits=True,
                              return_dict_in_generate=True, **settings)
    with torch.no_grad():
        wanted = logits(model, made.sequences, prompt.extend(5), mask, positions)[:, -6:-1]
    torch.testing.assert_close(torch.stack(made.logits, 1), wanted, **CLOSE)


@pytest.mark.parametrize(("mask", "positions"), each(LEVERS))
def test_changing_an_answer_token_changes_nothing_before_it(mask: Mask, positions: Positions) -> None:
    model, tokens = tiny(num_hidden_layers=3), row("s iiii qq aa q a jj q aa")
    ids = ids_for(tokens)
    with torch.no_grad():
        before = logits(model, ids, tokens, mask, positions)
        for n in (tokens.role[0] == Role.ANSWER).nonzero().flatten().tolist():
            changed = ids.clone()
            changed[0, n] = (ids[0, n] + 7) % VOCABULARY
            after = logits(model, changed, tokens, mask, positions)
            torch.testing.assert_close(after[:, :n], before[:, :n], **CLOSE)
            assert (after[:, n] - before[:, n]).abs().max() > 1e-2


def gradients(model: PreTrainedModel, score: Tensor) -> list[Tensor]:
    model.zero_grad()
    score.backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize(("mask", "positions"), each(LEVERS))
def test_gradient_checkpointing_changes_no_gradient(mask: Mask, positions: Positions) -> None:
    tokens, grads = batch("siiiiqa/iiqa", "iijjqa"), []
    for checkpointed in (False, True):
        model = tiny().train()
        if checkpointed:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        out = logits(model, ids_for(tokens), tokens, mask, positions)
        grads.append(gradients(model, out[tokens.is_real].square().mean()))
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize(("mask", "positions"), each(SHARING))
def test_branches_have_the_gradients_of_repeated_prefixes(mask: Mask, positions: Positions) -> None:
    model, tokens, grads = tiny(), row("s iiii 1 qa 2 qqa"), []
    ids = ids_for(tokens)
    paths = [torch.isin(tokens.branch[0], torch.tensor([0, branch])) for branch in (1, 2)]
    for pieces in ([(ids, tokens)], [(ids[:, path], alone(tokens, path)) for path in paths]):
        behind = [logits(model, given, piece, mask, positions)[0, 5:].log_softmax(-1)[:, 3] for given, piece in pieces]
        grads.append(gradients(model, torch.cat(behind).sum()))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_concentric_positions_under_a_causal_mask_are_not_taken_for_packed_rows() -> None:
    model, tokens = tiny(), row("ss iiii q a")
    ids, places = ids_for(tokens), Concentric().assign(tokens)
    wanted = tiny(implementation="eager")(input_ids=ids, attention_mask=Causal().dense(tokens).logical_not() * -1e9, position_ids=places).logits
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(logits(model, ids, tokens, Causal(), Concentric()), wanted, **CLOSE)


def test_an_image_prefix_may_be_read_before_its_question_is_known() -> None:
    """Concentric attention parts exactly behind the image."""
    model, tokens = tiny(), row("s iiii qq")
    ids = ids_for(tokens)
    with torch.no_grad():
        whole = logits(model, ids, tokens, PositionCausal(), Concentric())
        first = logits(model, ids[:, :5], tokens[:, :5], PositionCausal(), Concentric())
    torch.testing.assert_close(first, whole[:, :5], **CLOSE)


def test_the_levers_do_something() -> None:
    """Otherwise every test above would pass for a lever that nobody pulls."""
    model, tokens = tiny(), row("ss iiii qqq aaa")
    ids = ids_for(tokens)
    with torch.no_grad():
        plain = logits(model, ids, tokens, Causal(), Restart())
        for mask, positions in LEVERS:
            changed = float((logits(model, ids, tokens, mask, positions) - plain).abs().max())
            assert (changed < 1e-4) == (torch.equal(mask.dense(tokens), Causal().dense(tokens)) and isinstance(positions, Restart)), (mask, positions)
