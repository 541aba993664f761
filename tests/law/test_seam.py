"""The seam into transformers: neutral is plain to the bit, nothing stays behind, and the traps of the extension points are shut."""
import pytest
import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

from mm.attention import Plan, activated, active_plan
from mm.language import seam
from mm.masks import Causal, ImageBlock, Prefix
from mm.positions import Sequential
from tests.seams import decode, logits, seamed
from tests.toys import FAMILIES, STATIC, batch, ids_for, row, tiny

CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}


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
