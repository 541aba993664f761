"""What lies on a cache stays right when the cache is cut or used again."""
import copy
from typing import Any

import pytest
import torch

import mm
from mm.masks import ImageBlock, ModalityMutual, PositionCausal, SinkWindow
from mm.positions import Concentric
from tests.generation import (
    SINKS,
    assert_a_dialogue_goes_on_behind_its_cache,
    assert_a_question_behind_its_image_s_cache_is_refused,
    family,
    generate,
)
from tests.toys import batch, tiny

CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}


@pytest.mark.parametrize("levers", [{"mask": ImageBlock()}, {"reweight": [SINKS]}, {"mask": SinkWindow(2, 6)}], ids=["block", "var", "window"])
def test_another_question_behind_a_cache_that_was_cut_back_is_that_question(levers: dict[str, Any]) -> None:
    """The first prompt's later part must not be remembered: neither what it was, nor what rules found in it."""
    toy = family("llava")
    model = toy.model()
    first, second = toy.inputs(["sIqqqqqqq"]), toy.inputs(["sIIqq"])
    shared, picture = 5, second["pixel_values"][1:]
    second["input_ids"][:, :shared], second["pixel_values"] = first["input_ids"][:, :shared], first["pixel_values"]
    with torch.no_grad(), mm.steer(model, **levers):
        cache = model(input_ids=first["input_ids"][:, :shared], pixel_values=first["pixel_values"], use_cache=True).past_key_values
        model(input_ids=first["input_ids"][:, shared:], past_key_values=cache)
        cache.crop(shared - cache.get_seq_length())
        found = model(input_ids=second["input_ids"][:, shared:], pixel_values=picture, past_key_values=cache).logits
        again = model(input_ids=second["input_ids"][:, :shared], pixel_values=first["pixel_values"], use_cache=True).past_key_values
        wanted = model(input_ids=second["input_ids"][:, shared:], pixel_values=picture, past_key_values=again).logits
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_generation_behind_a_copied_picture_is_generation_from_the_start() -> None:
    toy = family("llava")
    model, levers = toy.model(), {"mask": SinkWindow(2, 6), "reweight": [SINKS]}
    prompts = [toy.inputs(["sIqqqqq"]), toy.inputs(["sIqqqqq"])]
    prompts[1]["input_ids"][:, 5:] += 1
    with torch.no_grad(), mm.steer(model, **levers):
        picture = model(input_ids=prompts[0]["input_ids"][:, :5], pixel_values=prompts[0]["pixel_values"], use_cache=True).past_key_values
        for inputs in prompts:
            found = generate(model, inputs, past_key_values=None)
            behind = generate(model, {**inputs}, past_key_values=copy.deepcopy(picture))
            torch.testing.assert_close(torch.stack(found.logits), torch.stack(behind.logits), rtol=0, atol=1e-4)


def test_a_step_that_is_taken_again_after_many_sees_what_it_saw() -> None:
    """Rows of decoded tokens are worked out in blocks; a cache that is cut back goes behind the latest block."""
    model, prompt = tiny(num_key_value_heads=4), batch("siiiiq")
    ids = torch.randint(2, 40, (1, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), mm.steer(model, mask=SinkWindow(1, 4), tokens=prompt):
        cache = model(input_ids=ids, use_cache=True).past_key_values
        steps = [torch.tensor([[token % 40 + 2]]) for token in range(70)]
        seen = [model(input_ids=step, past_key_values=cache).logits for step in steps]
        cache.crop(6 - cache.get_seq_length())
        again = [model(input_ids=step, past_key_values=cache).logits for step in steps]
    torch.testing.assert_close(torch.cat(again), torch.cat(seen), **CLOSE)


def test_a_dialogue_goes_on_behind_its_cache() -> None:
    toy = family("llava")
    model = toy.model()
    with mm.steer(model, mask=ModalityMutual(), reweight=[SINKS]):
        assert_a_dialogue_goes_on_behind_its_cache(toy, model)


def test_a_cache_that_was_filled_without_the_levers_is_refused() -> None:
    toy = family("llava")
    model = toy.model()
    with torch.no_grad():
        cache = model(**toy.inputs(["sIq"]), use_cache=True).past_key_values
        with mm.steer(model, mask=ModalityMutual()), pytest.raises(ValueError, match="were read without these levers"):
            model(input_ids=torch.tensor([[30, 31]]), past_key_values=cache)


def test_a_question_that_comes_in_a_later_piece_than_its_image_is_refused() -> None:
    toy = family("llava")
    model = toy.model()
    with mm.steer(model, mask=ModalityMutual()):
        assert_a_question_behind_its_image_s_cache_is_refused(toy, model)


@pytest.mark.parametrize("levers", [{"mask": ImageBlock()}, {"mask": PositionCausal(), "positions": Concentric()}], ids=["block", "cca"])
def test_an_image_may_be_read_before_its_question_where_it_does_not_look_ahead(levers: dict[str, Any]) -> None:
    toy = family("llava")
    model, inputs = toy.model(), toy.inputs(["sIqq"])
    with torch.no_grad(), mm.steer(model, **levers):
        whole = model(**inputs).logits
        cache = model(input_ids=inputs["input_ids"][:, :5], pixel_values=inputs["pixel_values"], use_cache=True).past_key_values
        rest = model(input_ids=inputs["input_ids"][:, 5:], past_key_values=cache).logits
    torch.testing.assert_close(rest, whole[:, 5:], rtol=0, atol=2e-5)
