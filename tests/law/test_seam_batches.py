"""On the seam packing, padding, branches and beams change nothing, and decoding goes on where prefill ended."""
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from mm.attention import Plan, activated
from mm.masks import Causal, Document, ImageBlock, Mask, Prefix, PrefixTree
from mm.positions import Restart
from mm.tokens import TokenMap
from tests.levers import assert_company_changes_nothing
from tests.seams import decode, logits, seamed
from tests.toys import FAMILIES, STATIC, batch, ids_for, random_tokens, row

MASKS = [Causal(), Prefix(), ImageBlock(), PrefixTree() | ImageBlock(), Causal() & Document()]
CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_packed_branched_and_padded_rows_equal_single_samples(mask: Mask, family: str) -> None:
    """Sliding layers (Gemma 3) included: a window counts along the path."""
    model = seamed(family)
    assert_company_changes_nothing(mask, random_tokens(2), lambda ids, tokens: logits(model, ids, tokens, mask))


@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_left_padding_equals_right_padding(mask: Mask) -> None:
    model = seamed()
    left, right = (batch("siiqaqa", "iiqa", left=side) for side in (True, False))
    ids = ids_for(right)
    shifted = torch.cat([ids[:1], ids[1:].roll(3, 1)])
    with torch.no_grad():
        a, b = logits(model, shifted, left, mask), logits(model, ids, right, mask)
    torch.testing.assert_close(a[left.is_real], b[right.is_real], **CLOSE)


def test_branches_have_the_gradients_of_repeated_prefixes() -> None:
    model = seamed()
    tokens = row("siii 1 qa 2 qqa")
    ids = ids_for(tokens)
    grads = []
    for paths in ([[*range(9)]], [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 6, 7, 8]]):
        model.zero_grad()
        for path in paths:
            here = tokens[:, path]
            here = TokenMap(**{**here.__dict__, "index": torch.arange(len(path))[None]})
            scores = logits(model, ids[:, path], here, ImageBlock())
            scores[:, here.branch[0] > 0].log_softmax(-1)[..., 3].sum().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mask", MASKS, ids=repr)
@pytest.mark.parametrize("settings", [{}, STATIC], ids=["dynamic", "static"])
def test_decoding_equals_one_forward_over_the_whole(settings: dict[str, Any], mask: Mask, family: str) -> None:
    model = seamed(family)
    prompt = batch("siiiiq", "iiqaq", left=True)
    ids = ids_for(prompt)
    made = decode(model, Plan(mask, prompt), ids, prompt.is_real, output_logits=True, return_dict_in_generate=True, **settings)
    whole = prompt.extend(5)
    with torch.no_grad():
        wanted = logits(model, made.sequences, whole, mask)[:, -6:-1]
    torch.testing.assert_close(torch.stack(made.logits, 1), wanted, **CLOSE)


def test_a_continued_prefill_of_a_chunkable_mask_is_exact_and_else_refused() -> None:
    model = seamed()
    tokens = batch("siiqa", "iq", left=True)
    ids = ids_for(tokens)
    with torch.no_grad():
        whole = logits(model, ids, tokens, Causal())
        cache, places = DynamicCache(config=model.config), Restart().assign(tokens)
        with activated(Plan(Causal(), tokens)):
            pieces = [model(input_ids=ids[:, part], position_ids=places[:, part], past_key_values=cache).logits
                      for part in (slice(0, 3), slice(3, 5))]
        torch.testing.assert_close(torch.cat(pieces, 1)[tokens.is_real], whole[tokens.is_real], **CLOSE)
        with activated(Plan(ImageBlock(), tokens)), pytest.raises(ValueError, match="must be read in one piece"):
            model(input_ids=ids[:, :2], past_key_values=DynamicCache(config=model.config))  # parts the first image


@pytest.mark.parametrize("mask", [Prefix(), ImageBlock()], ids=repr)
def test_beams_are_those_of_single_unpadded_samples(mask: Mask) -> None:
    model = seamed()
    prompts = ["siiiiq", "iiq"]
    tokens = batch(*prompts, left=True)
    ids = ids_for(tokens)
    together = decode(model, Plan(mask, tokens), ids, tokens.is_real, num_beams=3)
    for b, text in enumerate(prompts):
        alone = row(text)
        single = decode(model, Plan(mask, alone), ids[b:b + 1, tokens.is_real[b]], alone.is_real, num_beams=3)
        assert torch.equal(together[b, -5:], single[0, -5:])
