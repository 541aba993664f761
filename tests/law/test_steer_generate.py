"""Pretrained vision-language models under levers generate what attention by hand generates, alone and in batches, and forget it afterwards."""
import copy
import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

import mm
from mm.attention.session import Session
from mm.language.anatomy import decoder_layers, text_decoder
from mm.masks import Causal, Composite, ImageBlock, ModalityMutual, PositionCausal, Prefix
from mm.positions import Concentric, Sequential
from mm.reweight import PAI, VAR
from tests.dense import Dense, by_hand, grown, massive, var
from tests.families import FAMILIES, IMAGE, Family, assert_stock

NAMES = ["llava", "qwen2_5_vl", "smolvlm"]
PROMPTS = ["ssIqqq", "Iqqqqq", "sIqq", "sssIqqqq"]
STEPS = 4
CHANNELS, THRESHOLD = tuple(range(12)), 1.7
TAGS = list(range(3, 20))  # placeholders and marks, which no answer has
SINKS = VAR(CHANNELS, sink_keep=0.4, max_sink_share=0.95, min_image_mass=0.02, threshold=THRESHOLD, last_layer=-1)


def family(name: str, layers: int = 3) -> Family:
    """With as many layers as VAR needs to do anything."""
    def config() -> Any:
        made = FAMILIES[name].config()
        text = made.get_text_config()
        text.num_hidden_layers = layers
        if getattr(text, "layer_types", None):
            text.layer_types = [text.layer_types[0]] * layers
        return made

    return replace(FAMILIES[name], config=config)


def generate(model: PreTrainedModel, inputs: dict[str, Any], **settings: Any) -> Any:
    config = GenerationConfig(max_new_tokens=STEPS, min_new_tokens=STEPS, do_sample=False, pad_token_id=0, bos_token_id=1, suppress_tokens=TAGS,
                              output_logits=True, return_dict_in_generate=True, **settings)
    return model.generate(**inputs, generation_config=config)


def answers(made: Any) -> Tensor:
    return made.sequences[:, -STEPS:]


def dense_ids(model: PreTrainedModel, inputs: dict[str, Any], dense: Dense, positions: Tensor | None = None) -> Tensor:
    """Greedy ids, each from one whole forward pass by hand. positions: [1, N + STEPS]."""
    ids = torch.empty(0, dtype=torch.long)
    with torch.no_grad(), by_hand(model, dense):
        for _ in range(STEPS):
            now = grown(inputs, ids)
            more = {} if positions is None else {"position_ids": positions[:, :now["input_ids"].shape[1]]}
            logits = model(**now, **more, use_cache=False).logits[0, -1:].index_fill(-1, torch.tensor(TAGS), -torch.inf)
            ids = torch.cat([ids, logits.argmax(-1)])
    return ids


def causal(n: int) -> Tensor:
    return torch.ones(n, n).tril().bool()


def mutual(image: Tensor, n: int) -> Tensor:
    """Image tokens also read the text of the prompt that follows them."""
    visible = causal(n)
    for q in image.nonzero().flatten().tolist():
        visible[q, :len(image)] |= ~image & (torch.arange(len(image)) > q)
    return visible


def blocks(image: Tensor, n: int) -> Tensor:
    """Each run of image tokens sees itself. (A tile of Idefics is a run.)"""
    visible, run = causal(n), (image.long().diff(prepend=torch.zeros(1, dtype=torch.long)) == 1).cumsum(0) * image
    same = (run[:, None] == run[None]) & (run[:, None] > 0)
    visible[:len(image), :len(image)] |= same
    return visible


def apart(image: Tensor, n: int) -> Tensor:
    """Image tokens see themselves only."""
    visible = causal(n)
    for q in image.nonzero().flatten().tolist():
        visible[q] = torch.arange(n) == q
    return visible


def pai(image: Tensor, alpha: float) -> Any:
    def scores(layer: int, s: Tensor) -> Tensor:
        out, places = s.clone(), torch.nn.functional.pad(image, (0, s.shape[-1] - len(image)))
        for row in range(len(image) - 1, s.shape[1]):  # the last prompt token and every decoded one
            out[:, row, places] += alpha * s[:, row, places].abs()
        return out

    return scores


LEVERS: dict[str, dict[str, Any]] = {
    "mutual": {"mask": ModalityMutual()}, "blocks": {"mask": ImageBlock()}, "apart": {"mask": Composite()}, "var": {"reweight": [SINKS]},
    "pai": {"reweight": [PAI(alpha=0.3, first_layer=1, last_layer=-1)]}, "var and mutual": {"mask": ModalityMutual(), "reweight": [SINKS]}}


def hand_made(model: PreTrainedModel, inputs: dict[str, Any], lever: str) -> Dense:
    image = inputs["input_ids"][0] == IMAGE
    n = len(image) + STEPS
    visible = {"mutual": mutual, "blocks": blocks, "apart": apart, "var and mutual": mutual}.get(lever, lambda image, n: causal(n))(image, n)
    if lever == "pai":
        first = pai(image, 0.3)
        return Dense(visible, scores=lambda layer, s: first(layer, s) if layer >= 1 else s)
    if "var" not in lever:
        return Dense(visible)
    change = Dense(visible)
    sinks: dict[int, Tensor] = {}
    for layer in (2,):  # a layer's sinks depend on what VAR did in the layers before it
        with by_hand(model, Dense(visible, var(sinks, image, len(image), 0.4, 0.95, 0.02))):
            found = massive(model, decoder_layers(model), inputs, CHANNELS, THRESHOLD)
        sinks = {at: found[at] for at in range(2, layer + 1)}
    change.change = var(sinks, image, len(image), 0.4, 0.95, 0.02)
    return change


@pytest.mark.parametrize("lever", LEVERS)
@pytest.mark.parametrize("name", NAMES)
def test_steered_ids_are_those_of_attention_by_hand(name: str, lever: str) -> None:
    toy = family(name)
    model = toy.model()
    inputs = toy.inputs(["ssIqqq"])
    wanted = dense_ids(model, inputs, hand_made(model, inputs, lever))
    with mm.steer(model, **LEVERS[lever]):
        found = generate(model, inputs)
    assert torch.equal(answers(found)[0], wanted)
    assert (found.logits[0] - generate(model, inputs).logits[0]).abs().max() > 1e-3  # the lever does something here


@pytest.mark.parametrize("lever", LEVERS)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_of_four_is_four_single_runs(name: str, lever: str) -> None:
    toy = family(name)
    model = toy.model()
    with mm.steer(model, **LEVERS[lever]):
        together = generate(model, toy.inputs(PROMPTS))
        for b, prompt in enumerate(PROMPTS):
            alone = generate(model, toy.inputs([prompt]))
            torch.testing.assert_close(torch.stack(together.logits)[:, b], torch.stack(alone.logits)[:, 0], rtol=0, atol=1e-4)
            assert torch.equal(answers(together)[b], answers(alone)[0])


@pytest.mark.parametrize("lever", ["mutual", "var", "pai"])
@pytest.mark.parametrize("name", FAMILIES)
def test_decoding_is_one_forward_over_the_whole(name: str, lever: str) -> None:
    toy = family(name)
    model, inputs = toy.model(), toy.inputs(PROMPTS[:2])
    with mm.steer(model, **LEVERS[lever]), torch.no_grad():
        made = generate(model, inputs)
        labels = torch.full_like(made.sequences, -100)
        labels[:, -STEPS:] = made.sequences[:, -STEPS:]
        whole = model(**with_answers(toy, inputs, made.sequences), labels=labels, use_cache=False).logits
    torch.testing.assert_close(torch.stack(made.logits, 1), whole[:, -STEPS - 1:-1], rtol=0, atol=1e-4)


def with_answers(toy: Family, inputs: dict[str, Any], sequences: Tensor) -> dict[str, Any]:
    suffix = int(toy.name == "paligemma")  # whose prefix is type 0
    more = {name: torch.nn.functional.pad(inputs[name], (0, STEPS), value=fill)
            for name, fill in (("attention_mask", 1), ("mm_token_type_ids", 0), ("token_type_ids", suffix)) if name in inputs}
    return inputs | more | {"input_ids": sequences}


@pytest.mark.parametrize("settings", [{"num_beams": 3}, {"cache_implementation": "static", "disable_compile": True}], ids=["beams", "static"])
@pytest.mark.parametrize("lever", ["mutual", "var", "pai"])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "smolvlm", "gemma3"])
def test_beams_and_static_caches_are_those_of_single_dynamic_ones(name: str, lever: str, settings: dict[str, Any]) -> None:
    toy = family(name)
    model, prompts = toy.model(), PROMPTS[:2]
    dynamic = {key: value for key, value in settings.items() if key == "num_beams"}
    with mm.steer(model, **LEVERS[lever]):
        together = answers(generate(model, toy.inputs(prompts), **settings))
        for b, prompt in enumerate(prompts):
            assert torch.equal(together[b], answers(generate(model, toy.inputs([prompt]), **dynamic))[0])


@pytest.mark.parametrize("name", FAMILIES)
def test_leaving_restores_the_model_to_the_bit(name: str) -> None:
    toy = FAMILIES[name]
    model, inputs = toy.model(), toy.inputs(PROMPTS[:2])
    before, attributes = generate(model, inputs), set(vars(text_decoder(model)))
    implementation = copy.deepcopy(model.config.get_text_config()._attn_implementation)
    with mm.steer(model, mask=ModalityMutual()):
        generate(model, inputs)
    with pytest.raises(KeyError), mm.steer(model, mask=ModalityMutual()):
        raise KeyError
    after = generate(model, inputs)
    assert torch.equal(torch.stack(before.logits), torch.stack(after.logits))
    assert set(vars(text_decoder(model))) == attributes
    assert model.config.get_text_config()._attn_implementation == implementation
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", FAMILIES)
def test_neutral_levers_are_the_plain_model_to_the_bit(name: str) -> None:
    toy = family(name)
    model, inputs = toy.model(), toy.inputs(PROMPTS)
    plain = generate(model, inputs)
    neutral: dict[str, Any] = {"reweight": [VAR(CHANNELS, sink_keep=1.0), PAI(alpha=0.0, first_layer=0)]}
    if name not in ("paligemma", "gemma3"):  # whose own mask is not causal
        neutral["mask"] = Causal()
    with mm.steer(model, **neutral):
        found = generate(model, inputs)
    assert_stock(found, plain)


def test_the_vision_tower_is_never_touched() -> None:
    toy = family("llava")
    model, inputs = toy.model(), toy.inputs(["sIq"])
    plain = model.get_image_features(inputs["pixel_values"])
    with mm.steer(model, mask=ImageBlock(), reweight=[SINKS]):
        assert model.config.vision_config._attn_implementation == "sdpa"
        steered = model.get_image_features(inputs["pixel_values"])
    assert str(plain) == str(steered)


def test_concentric_positions_reach_prefill_and_decoding() -> None:
    """Against ids written down by hand: ring 0 for all of a 2 x 2 image, text behind it one further."""
    toy = family("llava")
    model, inputs = toy.model(), toy.inputs(["ssIqqq"])
    positions = torch.tensor([[0, 1, 2, 2, 2, 2, 3, 4, 5, *range(6, 6 + STEPS)]])
    image = inputs["input_ids"][0] == IMAGE
    wanted = dense_ids(model, inputs, Dense(blocks(image, len(image) + STEPS)), positions)
    with mm.steer(model, mask=PositionCausal(), positions=Concentric()):
        assert torch.equal(answers(generate(model, inputs))[0], wanted)


def test_the_second_sample_does_not_remember_the_first() -> None:
    toy = family("llava")
    model, fresh = toy.model(), toy.model()
    with mm.steer(model, reweight=[SINKS]), mm.steer(fresh, reweight=[SINKS]):
        generate(model, toy.inputs(["sssIqqqq"]))
        generate(model, toy.inputs(["q"]))
        found, wanted = generate(model, toy.inputs(["Iq"])), generate(fresh, toy.inputs(["Iq"]))
    assert torch.equal(torch.stack(found.logits), torch.stack(wanted.logits))


def test_a_hundred_generations_leave_nothing_behind() -> None:
    toy = family("llava")
    model, inputs = toy.model(), toy.inputs(["sIq", "Iqq"])

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    def one() -> None:
        model.generate(**inputs, max_new_tokens=2, do_sample=False)

    with mm.steer(model, mask=ModalityMutual(), reweight=[SINKS]):
        for _ in range(5):
            one()
        before = objects()
        for _ in range(100):
            one()
        assert objects() - before < 50
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Session)]


def test_a_dialogue_goes_on_behind_its_cache() -> None:
    """The second turn's tokens are appended to what the cache holds; each token is what one pass over everything makes of it."""
    toy = family("llava")
    model = toy.model()
    inputs = toy.inputs(["ssIqqq"])
    more = torch.tensor([[30, 31, 32]])
    with mm.steer(model, mask=ModalityMutual(), reweight=[SINKS]), torch.no_grad():
        made = generate(model, inputs)
        cache = made.past_key_values  # holds all but the last decoded token
        ids = torch.cat([made.sequences[:, -1:], more], 1)
        continued = model(input_ids=ids, past_key_values=cache, attention_mask=torch.ones(1, made.sequences.shape[1] + 3)).logits
        whole = torch.cat([made.sequences, more], 1)
        labels = torch.full_like(whole, -100)
        labels[:, inputs["input_ids"].shape[1]:made.sequences.shape[1] - 1] = 1
        wanted = model(**grown(inputs, whole[0, inputs["input_ids"].shape[1]:]), labels=labels, use_cache=False).logits
    torch.testing.assert_close(continued, wanted[:, -4:], rtol=0, atol=1e-4)


def test_a_cache_that_was_filled_without_the_levers_is_refused() -> None:
    toy = family("llava")
    model = toy.model()
    with torch.no_grad():
        cache = model(**toy.inputs(["sIq"]), use_cache=True).past_key_values
        with mm.steer(model, mask=ModalityMutual()), pytest.raises(ValueError, match="were read without these levers"):
            model(input_ids=torch.tensor([[30, 31]]), past_key_values=cache)


def test_a_question_that_comes_in_a_later_piece_than_its_image_is_refused() -> None:
    toy = family("llava")
    model, inputs = toy.model(), toy.inputs(["sIqq"])
    with torch.no_grad(), mm.steer(model, mask=ModalityMutual()):
        cache = model(input_ids=inputs["input_ids"][:, :5], pixel_values=inputs["pixel_values"], use_cache=True).past_key_values
        with pytest.raises(ValueError, match="must be read in one piece"):
            model(input_ids=inputs["input_ids"][:, 5:], past_key_values=cache)


@pytest.mark.parametrize("levers", [{"mask": ImageBlock()}, {"mask": PositionCausal(), "positions": Concentric()}], ids=["block", "cca"])
def test_an_image_may_be_read_before_its_question_where_it_does_not_look_ahead(levers: dict[str, Any]) -> None:
    toy = family("llava")
    model, inputs = toy.model(), toy.inputs(["sIqq"])
    with torch.no_grad(), mm.steer(model, **levers):
        whole = model(**inputs).logits
        cache = model(input_ids=inputs["input_ids"][:, :5], pixel_values=inputs["pixel_values"], use_cache=True).past_key_values
        rest = model(input_ids=inputs["input_ids"][:, 5:], past_key_values=cache).logits
    torch.testing.assert_close(rest, whole[:, 5:], rtol=0, atol=2e-5)


def test_steering_nests_and_can_be_persistent() -> None:
    toy = family("llava")
    model, inputs = toy.model(), toy.inputs(["sIqq"])

    def logits() -> Tensor:
        with torch.no_grad():
            return model(**inputs).logits

    plain = logits()
    with mm.steer(model, mask=Prefix()):
        prefix = logits()
    outer = mm.steer(model, mask=Prefix())
    assert outer.install() is model
    assert torch.equal(logits(), prefix)
    inner = mm.steer(model, positions=Concentric())
    inner.install()
    both = logits()
    outer.uninstall()
    only = logits()
    inner.uninstall()
    with mm.steer(model, mask=Prefix(), positions=Concentric()):
        assert torch.equal(logits(), both)
    assert not torch.equal(only, plain)
    assert torch.equal(logits(), plain)


def test_training_under_levers_is_exact_under_gradient_checkpointing() -> None:
    """The backward pass runs after the levers have been let go."""
    toy = family("llava")
    inputs = toy.inputs(["ssIqqq", "Iqqqqq"], left=False)
    labels = torch.where(torch.arange(inputs["input_ids"].shape[1]) >= 8, inputs["input_ids"], -100) * inputs["attention_mask"] \
        - 100 * (1 - inputs["attention_mask"])
    grads = []
    for checkpointed in (False, True):
        model = toy.model().train()
        if checkpointed:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        with mm.steer(model, mask=ModalityMutual(), reweight=[SINKS]):
            loss = model(**inputs, labels=labels).loss
        loss.backward()
        grads.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    assert any(g.abs().max() > 0 for g in grads[0])


def test_answers_given_as_labels_stay_hidden_from_the_image() -> None:
    toy = family("llava")
    model, inputs = toy.model(), toy.inputs(["sIqqqq"])
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[:, -2:] = inputs["input_ids"][:, -2:]
    other = inputs | {"input_ids": inputs["input_ids"].clone()}
    other["input_ids"][:, -1] += 1
    with torch.no_grad(), mm.steer(model, mask=ModalityMutual()):
        a, b = (model(**each, labels=labels).logits for each in (inputs, other))
    assert torch.equal(a[:, :-1], b[:, :-1])


def refusals() -> Sequence[tuple[str, dict[str, Any], str]]:
    return [
        ("llava", {"reweight": [PAI(last_layer=31)]}, "model has layers 0 to 1"),
        ("qwen2_5_vl", {"positions": Concentric()}, r"\(time, row, column\)"),
        ("llava", {"keep": mm.keep.VMTC(2, 1)}, "build a mm.VLM"),
    ]


@pytest.mark.parametrize(("name", "levers", "reason"), refusals())
def test_what_cannot_hold_is_refused_with_the_reason(name: str, levers: dict[str, Any], reason: str) -> None:
    model = FAMILIES[name].model()
    with pytest.raises((ValueError, TypeError), match=reason):
        mm.steer(model, **levers).install()
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_flash_attention_is_refused_for_a_plan_that_is_not_causal() -> None:
    model = FAMILIES["llava"].model()
    model.config.text_config._attn_implementation_internal = "flash_attention_2"
    with pytest.raises(ValueError, match="attn_implementation='sdpa'"):
        mm.steer(model, mask=Prefix()).install()


def test_sequential_positions_on_multimodal_rotary_are_the_models_own() -> None:
    toy = FAMILIES["qwen2_5_vl"]
    model, inputs = toy.model(), toy.inputs(["sIqq"])
    with torch.no_grad():
        plain = model(**inputs).logits
        with mm.steer(model, positions=Sequential()):
            assert torch.equal(model(**inputs).logits, plain)
