"""What lies on a cache stays right when the cache is cut or used again."""
import copy
from typing import Any

import pytest
import torch

import mm
from mm.masks import ImageBlock, SinkWindow
from tests.law.test_steer_generate import SINKS, family, generate
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
