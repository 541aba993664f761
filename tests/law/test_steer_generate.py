"""Pretrained vision-language models under levers generate what attention by hand generates, alone and in batches."""
from typing import Any

import pytest
import torch

import mm
from mm.masks import Causal, ImageBlock, PositionCausal
from mm.positions import Concentric, Sequential
from mm.reweight import PAI, VAR
from tests.dense import Dense, blocks
from tests.families import FAMILIES, IMAGE, assert_stock
from tests.generation import (
    CHANNELS,
    LEVERS,
    PROMPTS,
    SINKS,
    STEPS,
    answers,
    assert_a_batch_is_its_rows,
    assert_beams_or_static_are_single_dynamic_ones,
    assert_decoding_is_one_forward,
    beams_and_static,
    dense_ids,
    family,
    generate,
    hand_made,
)

NAMES = ["llava", "qwen2_5_vl", "smolvlm"]


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
        assert_a_batch_is_its_rows(toy, model)


@pytest.mark.parametrize("lever", ["mutual", "var", "pai"])
@pytest.mark.parametrize("name", FAMILIES)
def test_decoding_is_one_forward_over_the_whole(name: str, lever: str) -> None:
    toy = family(name)
    model = toy.model()
    with mm.steer(model, **LEVERS[lever]):
        assert_decoding_is_one_forward(toy, model)


@beams_and_static
@pytest.mark.parametrize("lever", ["mutual", "var", "pai"])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "smolvlm", "gemma3"])
def test_beams_and_static_caches_are_those_of_single_dynamic_ones(name: str, lever: str, settings: dict[str, Any]) -> None:
    toy = family(name)
    model = toy.model()
    with mm.steer(model, **LEVERS[lever]):
        assert_beams_or_static_are_single_dynamic_ones(toy, model, settings)


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
    plain = model.get_image_features(inputs["pixel_values"]).pooler_output
    with mm.steer(model, mask=ImageBlock(), reweight=[SINKS]):
        assert model.config.vision_config._attn_implementation == "sdpa"
        steered = model.get_image_features(inputs["pixel_values"]).pooler_output
    assert all(torch.equal(a, b) for a, b in zip(plain, steered, strict=True))


def test_concentric_positions_reach_prefill_and_decoding() -> None:
    """Against ids written down by hand: ring 0 for all of a 2 x 2 image, text behind it one further."""
    toy = family("llava")
    model, inputs = toy.model(), toy.inputs(["ssIqqq"])
    positions = torch.tensor([[0, 1, 2, 2, 2, 2, 3, 4, 5, *range(6, 6 + STEPS)]])
    image = inputs["input_ids"][0] == IMAGE
    wanted = dense_ids(model, inputs, Dense(blocks(image, len(image) + STEPS)), positions)
    with mm.steer(model, mask=PositionCausal(), positions=Concentric()):
        assert torch.equal(answers(generate(model, inputs))[0], wanted)


def test_sequential_positions_on_multimodal_rotary_are_the_models_own() -> None:
    toy = FAMILIES["qwen2_5_vl"]
    model, inputs = toy.model(), toy.inputs(["sIqq"])
    with torch.no_grad():
        plain = model(**inputs).logits
        with mm.steer(model, positions=Sequential()):
            assert torch.equal(model(**inputs).logits, plain)
