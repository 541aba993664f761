"""The seam into transformers: neutral is plain to the bit, packing and padding change nothing, decoding goes on where prefill ended."""
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LlavaConfig, LlavaForConditionalGeneration, PreTrainedModel

from mm.attention import Plan, Recorder, activated, active_plan
from mm.language import seam
from mm.masks import Causal, Document, ImageBlock, Mask, Prefix, PrefixTree
from mm.positions import Restart, Sequential
from mm.tokens import TokenMap
from tests.levers import assert_company_changes_nothing
from tests.toys import FAMILIES, STATIC, batch, ids_for, random_tokens, row, tiny

MASKS = [Causal(), Prefix(), ImageBlock(), PrefixTree() | ImageBlock(), Causal() & Document()]
CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}


def seamed(family: str = "llama", **overrides: Any) -> PreTrainedModel:
    model = tiny(family, **overrides)
    seam.install(model)
    return model


def logits(model: PreTrainedModel, ids: Tensor, tokens: TokenMap, mask: Mask) -> Tensor:
    visible = seam.attention_argument(model, mask, tokens)
    return model(input_ids=ids, attention_mask=visible, position_ids=Restart().assign(tokens), use_cache=False).logits


def decode(model: PreTrainedModel, plan: Plan | None, ids: Tensor, real: Tensor, **settings: Any) -> Tensor:
    config = GenerationConfig(max_new_tokens=5, do_sample=False, pad_token_id=0, bos_token_id=1, **settings)
    with torch.no_grad(), activated(plan):
        return model.generate(input_ids=ids, attention_mask=real.long(), generation_config=config)


# --- law 1: the neutral lever is the plain model


@pytest.mark.parametrize("family", FAMILIES)
def test_a_neutral_plan_is_the_plain_model_to_the_bit(family: str) -> None:
    plain, ours = tiny(family), seamed(family)
    tokens = batch("siiqa", "siiqaqa", "siiqaqa")[1:]
    ids = ids_for(tokens)
    wanted = plain(input_ids=ids, labels=ids)
    visible = seam.attention_argument(ours, Causal(), tokens)
    found = ours(input_ids=ids, labels=ids, attention_mask=visible, position_ids=Sequential().assign(tokens))
    assert torch.equal(found.logits, wanted.logits)
    wanted.loss.backward()
    found.loss.backward()
    for (name, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for settings in ({}, {"num_beams": 3}, STATIC):
        wanted = decode(plain, None, ids, tokens.is_real, **settings)
        assert torch.equal(decode(ours, Plan(Causal(), tokens), ids, tokens.is_real, **settings), wanted)


def test_left_padded_generation_without_a_plan_is_stock() -> None:
    tokens = batch("siiq", "q", left=True)
    ids = ids_for(tokens)
    assert torch.equal(decode(seamed(), None, ids, tokens.is_real), decode(tiny(), None, ids, tokens.is_real))


def test_uninstalling_leaves_no_trace() -> None:
    model = tiny(implementation="eager")
    before = seam.install(model)
    assert (before, model.config._attn_implementation) == ("eager", "mm")
    seam.uninstall(model, before)
    assert model.config._attn_implementation == "eager"


# --- law 4: a batch with padding, a packed batch and single samples give the same numbers


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


# --- law 3: decode step t is row t of one forward


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


# --- law 5


def test_the_second_sample_does_not_remember_the_first() -> None:
    model, fresh = seamed(), seamed()
    first, second = batch("siiiiqaq"), batch("iiq")
    decode(model, Plan(Prefix(), first), ids_for(first), first.is_real)
    with pytest.raises(ZeroDivisionError), activated(Plan(Prefix(), first)):
        raise ZeroDivisionError
    assert active_plan() is None
    ids = ids_for(second, seed=1)
    assert torch.equal(decode(model, Plan(Prefix(), second), ids, second.is_real), decode(fresh, Plan(Prefix(), second), ids, second.is_real))
    assert torch.equal(decode(model, None, ids, second.is_real), decode(tiny(), None, ids, second.is_real))


# --- pitfalls of the extension points


def test_gradient_checkpointing_changes_no_gradient() -> None:
    tokens = batch("siiiqa", "iiqa")
    ids, grads = ids_for(tokens), []
    for checkpointed in (False, True):
        model = seamed().train()
        if checkpointed:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        logits(model, ids, tokens, ImageBlock()).square().mean().backward()
        grads.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_odd_position_ids_are_not_taken_for_packed_rows() -> None:
    model = seamed()
    ids = ids_for(row("siiqqqa"))
    tokens, odd = row("siiqqqa"), torch.tensor([[0, 1, 1, 1, 4, 2, 9]])
    with torch.no_grad():
        given = model(input_ids=ids, attention_mask=seam.attention_argument(model, Causal(), tokens), position_ids=odd).logits
        explicit = model(input_ids=ids, attention_mask=Causal().dense(tokens), position_ids=odd).logits
        guessed = model(input_ids=ids, position_ids=odd, use_cache=False).logits
    torch.testing.assert_close(given, explicit, **CLOSE)
    assert (guessed - given).abs().max() > 1e-2  # the trap is still there


def test_a_mask_never_reaches_a_kernel_that_would_misread_it() -> None:
    model, tokens = tiny(implementation="eager"), batch("siiq", "iiq", left=True)
    with pytest.raises(ValueError, match=r"'eager' attention, which ignores or misreads the mask ImageBlock\(\)"):
        seam.attention_argument(model, ImageBlock(), tokens)
    model.config._attn_implementation_internal = "flash_attention_2"
    with pytest.raises(ValueError, match="flash_attention_2"):
        seam.attention_argument(model, ImageBlock(), tokens)
    with pytest.raises(ValueError, match="would add to the scores"):
        seamed()(input_ids=ids_for(tokens), attention_mask=torch.zeros(2, 1, 4, 4))


def test_no_row_is_wholly_masked_so_padding_gives_no_nan() -> None:
    model, tokens = seamed().train(), batch("siiqa", "q", left=True)
    loss = logits(model, ids_for(tokens), tokens, Prefix())
    assert loss.isfinite().all()
    loss.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_sliding_layers_keep_their_window() -> None:
    model, tokens = seamed("gemma3_text"), row("siiiiqqqqqqq")
    visible = seam.attention_argument(model, ImageBlock(), tokens)
    assert visible["full_attention"][0, 0, -1].sum() == 12
    assert visible["sliding_attention"][0, 0, -1].sum() == 4


def test_only_the_language_part_is_put_on_the_seam() -> None:
    text = tiny().config
    vision = {"model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 8, "patch_size": 4, "projection_dim": 16}
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=3))
    before = model.config.vision_config._attn_implementation
    previous = seam.install(model)
    assert model.config.text_config._attn_implementation == "mm"
    assert model.config.vision_config._attn_implementation == before != "mm"
    seam.uninstall(model, previous)
    assert model.config.text_config._attn_implementation == previous


def test_the_registry_entry_of_others_is_not_touched() -> None:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    seamed()
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is sdpa_attention_forward
    assert ALL_MASK_ATTENTION_FUNCTIONS["sdpa"] is sdpa_mask


def test_models_that_cannot_be_exact_are_refused_with_the_reason() -> None:
    with pytest.raises(seam.UnsupportedModelError, match="soft-caps attention scores at 50"):
        seam.install(tiny("gemma2", implementation="eager", attn_logit_softcapping=50.0, query_pre_attn_scalar=8))
    sinks = seamed("gpt_oss", implementation="eager", num_local_experts=2, num_experts_per_tok=1, layer_types=["full_attention"] * 2)
    with pytest.raises(seam.UnsupportedModelError, match="attention sinks"):
        sinks(input_ids=torch.ones(1, 3, dtype=torch.long))


def test_a_plan_for_another_batch_is_refused() -> None:
    model, tokens = seamed(), batch("siiq", "iiq", left=True)
    with pytest.raises(ValueError, match="describes 2 rows and the model reads 3"):
        decode(model, Plan(Prefix(), tokens), torch.ones(3, 4, dtype=torch.long), torch.ones(3, 4))
    right = batch("siiq", "iiq")
    with pytest.raises(ValueError, match="pad prompts on the left"):
        decode(model, Plan(Prefix(), right), ids_for(right), torch.ones(2, 4))


# --- the recorder


@pytest.mark.parametrize("mask", [Causal(), Prefix()], ids=repr)
def test_recorded_rows_are_the_weights_of_an_eager_model(mask: Mask) -> None:
    eager, model = tiny(implementation="eager"), seamed()
    tokens = batch("siiiqa", "iiq", left=True)
    ids, recorder = ids_for(tokens), Recorder()
    made = decode(model, Plan(mask, tokens, recorder), ids, tokens.is_real)
    whole = tokens.extend(5)
    visible = mask.dense(whole)
    bias = torch.zeros(visible.shape).masked_fill(~visible, -torch.inf)
    with torch.no_grad():
        wanted = eager(input_ids=made, attention_mask=bias, position_ids=Restart().assign(whole), output_attentions=True).attentions
    assert len(recorder.steps) == 5
    for t, step in enumerate(recorder.steps):
        for layer in (0, 1):
            last = tokens.shape[1] - 1 + t
            torch.testing.assert_close(step[layer], wanted[layer][:, :, last:last + 1, :last + 1], rtol=0, atol=1e-5)


def test_recorded_masses_are_sums_of_recorded_weights() -> None:
    model, tokens = seamed(), batch("siiiqa", "iiq", left=True)
    ids, groups = ids_for(tokens), tokens.is_vision.long() + tokens.is_real.long()
    weights = Recorder(layers=[1])
    masses = Recorder(layers=[1], groups=groups, group_count=4, decoded_group=3)
    rows = Recorder(rows=torch.tensor([4, 5]))
    for recorder in (weights, masses, rows):
        decode(model, Plan(Prefix(), tokens, recorder), ids, tokens.is_real)
    for t, (w, m) in enumerate(zip(weights.steps, masses.steps, strict=True)):
        assert m[1].shape == (2, 4, 1, 4)
        assert list(w) == [1]
        torch.testing.assert_close(m[1][..., 3], w[1][..., 6:].sum(-1))
        torch.testing.assert_close(m[1][0, :, :, 2], w[1][0, :, :, 1:4].sum(-1))
        assert w[1].shape[-1] == 6 + t
    torch.testing.assert_close(rows.steps[0][1][:, :, 1:], weights.steps[0][1])
    with pytest.raises(ValueError, match="rows reach to 9"):
        decode(model, Plan(Prefix(), tokens, Recorder(rows=torch.tensor([9]))), ids, tokens.is_real)
