"""Training under levers: what a backward pass needs of them stays until it is done."""

import torch

import mm
from mm.masks import ModalityMutual
from mm.reweight import VAR
from tests.generation import SINKS, family


def test_the_attention_of_a_steered_model_goes_back_when_its_backward_pass_is_done() -> None:
    toy = family("llava")
    model, inputs = toy.model().train(), toy.inputs(["ssIqqq"])
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with mm.steer(model, reweight=[VAR((3, 11), threshold=2.0)]):
        loss = model(**inputs, labels=inputs["input_ids"]).loss
    loss.backward()
    del loss
    assert model.config.text_config._attn_implementation == "sdpa"
    assert not any(module._forward_pre_hooks for module in model.modules())


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
