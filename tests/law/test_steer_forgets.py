"""A steered model forgets its levers when they are let go, and each prompt when the next one comes."""
import copy
import gc

import pytest
import torch
from torch import Tensor

import mm
from mm.attention.session import Session
from mm.language.anatomy import text_decoder
from mm.masks import ModalityMutual, Prefix
from mm.positions import Concentric
from tests.families import FAMILIES
from tests.generation import PROMPTS, SINKS, family, generate


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
