"""Pretrained models under dynamic masks: neutral before training, and batches, beams and caches do not change what is generated."""
from typing import Any

import pytest

import mm
from mm.reweight import DMA
from tests.families import assert_stock
from tests.generation import (
    PROMPTS,
    assert_a_batch_is_its_rows,
    assert_beams_or_static_are_single_dynamic_ones,
    assert_decoding_is_one_forward,
    beams_and_static,
    family,
    generate,
)
from tests.reweighting import dma


def test_before_training_it_is_the_plain_model_to_the_bit() -> None:
    toy_family = family("llava")
    model, inputs, rule = toy_family.model(), toy_family.inputs(PROMPTS), DMA(3)
    with mm.steer(model, reweight=[rule]):
        found = generate(model, inputs)
    assert_stock(found, generate(model, inputs))
    assert rule.strength is not None


@pytest.mark.parametrize("block", [None, 3])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "smolvlm"])
def test_a_padded_batch_is_its_rows_alone(name: str, block: int | None) -> None:
    toy_family = family(name)
    model = toy_family.model()
    with mm.steer(model, reweight=[dma(block=block)]):
        together = assert_a_batch_is_its_rows(toy_family, model)
    assert (together.logits[0] - generate(model, toy_family.inputs(PROMPTS)).logits[0]).abs().max() > 1e-3


@pytest.mark.parametrize("block", [None, 3])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3"])
def test_decoding_is_one_forward_over_the_whole(name: str, block: int | None) -> None:
    toy_family = family(name)
    model = toy_family.model()
    with mm.steer(model, reweight=[dma(block=block)]):
        assert_decoding_is_one_forward(toy_family, model)


@beams_and_static
def test_beams_and_static_caches_are_those_of_single_dynamic_ones(settings: dict[str, Any]) -> None:
    toy_family = family("llava")
    model = toy_family.model()
    with mm.steer(model, reweight=[dma()]):
        assert_beams_or_static_are_single_dynamic_ones(toy_family, model, settings)
