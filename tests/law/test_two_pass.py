"""Composite attention in two passes: the image goes through the decoder without a score, the text reads its cache, and the numbers are the mask's."""

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import mm
from mm.language import seam, two_pass
from mm.masks import Composite
from mm.positions import Concentric, Positions, Restart
from mm.tokens import TokenMap
from tests.golden import load
from tests.parity.llama import golden_llama
from tests.seams import seamed
from tests.toys import FAMILIES, batch, row

CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}
ROWS = [["ss iiii qqq"], ["iiiiii q"], ["s iiii qq", "ss ii qqqqq", "qqqq"], ["s iiii q jjjj qq", "s ii q jj qqqqqqq", "iijjj q"]]


def embeddings(tokens: TokenMap) -> Tensor:
    return torch.randn(*tokens.shape, 32, generator=torch.Generator().manual_seed(0))


def one_pass(model: PreTrainedModel, embeds: Tensor, tokens: TokenMap, places: Tensor) -> Tensor:
    visible = seam.attention_argument(model, Composite(), tokens)
    return model.base_model(inputs_embeds=embeds, attention_mask=visible, position_ids=places, use_cache=False).last_hidden_state


def head(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    out: nn.Module = model.get_output_embeddings()  # type: ignore[assignment]
    return out(hidden)


@torch.no_grad()
def test_logits_are_those_of_the_recorded_mask() -> None:
    golden = load("masks", "eemllm_diag_ownref")
    model = golden_llama()
    seam.install(model)
    tokens = row("s" * int(golden.prefix_len) + "i" * int(golden.num_vision_tokens) + "q" * int(golden.suffix_len))
    hidden, _ = two_pass(model, golden.inputs_embeds[None], tokens, tokens.position)
    torch.testing.assert_close(head(model, hidden)[0], golden.logits, **CLOSE)


@pytest.mark.parametrize("positions", [Restart(), Concentric()], ids=repr)
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("texts", ROWS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_it_is_the_mask_in_one_pass(family: str, texts: list[str], left: bool, positions: Positions) -> None:
    """Rows with several images, with fewer than their neighbours, with none; Gemma 3's second layer slides over four tokens."""
    model, tokens = seamed(family), batch(*texts, left=left)
    embeds, places = embeddings(tokens), positions.assign(tokens)
    hidden, _ = two_pass(model, embeds, tokens, places)
    wanted = one_pass(model, embeds, tokens, places)
    torch.testing.assert_close(hidden[tokens.is_real], wanted[tokens.is_real], **CLOSE)


def test_gradients_flow_through_the_cache() -> None:
    tokens = batch("s iiii qq", "ss ii qqqqq")
    grads = []
    for both in (True, False):
        model = seamed().train()
        embeds = embeddings(tokens).requires_grad_()
        hidden = two_pass(model, embeds, tokens, tokens.position)[0] if both else one_pass(model, embeds, tokens, tokens.position)
        head(model, hidden)[tokens.is_real].log_softmax(-1)[:, 3].sum().backward()
        grads.append({"embeds": embeds.grad, **{name: p.grad for name, p in model.named_parameters() if p.grad is not None}})
    assert grads[0].keys() == grads[1].keys()
    assert "model.layers.0.self_attn.v_proj.weight" in grads[0]
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("given", [True, False], ids=["given position ids", "counting"])
@torch.no_grad()
def test_decoding_goes_on_with_the_cache(family: str, given: bool) -> None:
    model, tokens = seamed(family), batch("s iiii qq", "ss ii qqqqqq", "qqqq", left=True)
    embeds, places = embeddings(tokens), Restart().assign(tokens)
    answer = torch.tensor([[5, 6, 7], [8, 9, 10], [11, 12, 13]])
    _, cache = two_pass(model, embeds, tokens, places)
    whole, steps = tokens.extend(3), []
    with mm.steer(model, mask=Composite(), positions=None if given else Restart()):
        for t in range(3):
            more = {"position_ids": whole.depth[:, tokens.shape[1] + t, None]} if given else {}
            steps.append(model(input_ids=answer[:, t:t + 1], past_key_values=cache, **more).logits[:, 0])
    full = torch.cat([embeds, model.get_input_embeddings()(answer)], 1)
    wanted = head(model, one_pass(model, full, whole, Restart().assign(whole))[:, -3:])
    torch.testing.assert_close(torch.stack(steps, 1), wanted, **CLOSE)


def test_the_image_s_part_of_the_cache_depends_on_no_question() -> None:
    model = seamed()
    first, second = row("s iiii qq"), row("s iiii qqqq")
    with torch.no_grad():
        caches = [two_pass(model, embeddings(second)[:, :tokens.shape[1]], tokens, tokens.position)[1] for tokens in (first, second)]
    for a, b in zip(*(cache.layers for cache in caches), strict=True):
        assert torch.equal(a.keys[:, :, :4], b.keys[:, :, :4])
        assert torch.equal(a.values[:, :, :4], b.values[:, :, :4])


def test_gradient_checkpointing_is_refused_for_it_forbids_a_cache() -> None:
    model, tokens = seamed().train(), row("s ii q")
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with pytest.raises(ValueError, match=r"use the mask mm\.masks\.Composite in one pass"):
        two_pass(model, embeddings(tokens), tokens, tokens.position)


@pytest.mark.parametrize(("text", "reason"), [
    ("s ii q/s ii q", "one document a row"), ("s ii 1 q 2 q", "without branches"), ("s q ii", "row 0 ends in an image")])
def test_rows_that_cannot_be_read_so_are_refused(text: str, reason: str) -> None:
    tokens = row(text)
    with pytest.raises(ValueError, match=reason):
        two_pass(seamed(), embeddings(tokens), tokens, tokens.position)
