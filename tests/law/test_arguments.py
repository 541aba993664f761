"""Arguments of a steered model may come by position or by keyword, and its cache under any name that transformers has for it."""
import torch

import mm
from mm.language.arguments import CACHE, by_name, cache_among
from mm.masks import ModalityMutual, Prefix
from tests.families import FAMILIES
from tests.toys import tiny


def test_arguments_by_position_are_those_by_keyword() -> None:
    toy = FAMILIES["llava"]
    model, inputs = toy.model(), toy.inputs(["sIqq", "ssIqqqq"])
    with torch.no_grad(), mm.steer(model, mask=ModalityMutual()):
        wanted = model(**inputs).logits
        found = model(inputs["input_ids"], inputs["pixel_values"], inputs["attention_mask"]).logits
        masked = inputs["attention_mask"].bool()
        blind = model(inputs["input_ids"], inputs["pixel_values"]).logits
    assert torch.equal(found[masked], wanted[masked])
    assert not torch.equal(blind[masked], wanted[masked])  # the padding matters here


def test_a_decoder_called_by_position_is_one_called_by_keyword() -> None:
    model, ids = tiny(num_key_value_heads=4), torch.randint(2, 40, (2, 6), generator=torch.Generator().manual_seed(0))
    real = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    with torch.no_grad(), mm.steer(model, mask=Prefix()):
        wanted = model.model(input_ids=ids, attention_mask=real).last_hidden_state
        found = model.model(ids, real).last_hidden_state
    assert torch.equal(found, wanted)


def test_a_cache_is_found_under_any_name() -> None:
    toy = FAMILIES["llava"]
    model, inputs = toy.model(), toy.inputs(["sIqq"])
    step, found = torch.tensor([[30]]), []
    with torch.no_grad(), mm.steer(model, mask=ModalityMutual()):
        whole = torch.cat([inputs["input_ids"], step], 1)
        wanted = model(input_ids=whole, pixel_values=inputs["pixel_values"], labels=torch.where(whole == 30, whole, -100)).logits[:, -1:]
        for name in {CACHE, "past_key_values"}:
            cache = cache_among(model(**inputs, use_cache=True))
            assert cache is not None
            found.append(model(input_ids=step, **{name: cache}).logits)
    for logits in found:
        torch.testing.assert_close(logits, wanted, rtol=0, atol=2e-5)


def test_names_are_those_of_the_forward_function() -> None:
    model = FAMILIES["llava"].model()
    assert by_name(model, (1, 2), {"labels": 3}) == {"input_ids": 1, "pixel_values": 2, "labels": 3}
