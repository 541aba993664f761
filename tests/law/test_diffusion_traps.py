"""Mistakes of the original code and of hooks on diffusers that no other test here is about."""
from typing import Any

import pytest
import torch
from diffusers.models.attention_dispatch import attention_backend
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

import mm
from mm.diffusion import Branches, Moment, Recorder, Row, SelfEdit, SelfInject, Site
from mm.diffusion.edit import Role
from mm.diffusion.observer import Observer, View
from tests import denoisers, pipelines

PROMPTS = [denoisers.prompt("a cat"), denoisers.prompt("a dog")]


class Asked(SelfEdit):
    """Never takes anything, and remembers when it was asked where."""

    def __init__(self) -> None:
        self.steps: dict[str, list[int]] = {}

    def takes(self, site: Site, moment: Moment) -> frozenset[Role]:
        self.steps.setdefault(site.name, []).append(moment.step)
        return frozenset()


class Heads(Observer):
    """How many heads each attention has."""

    def __init__(self) -> None:
        self.counts: set[int] = set()

    def wants(self, site: Site) -> bool:
        return True

    def observe(self, view: View) -> None:
        self.counts.add(view.call.q.shape[1])


def test_trap_the_last_layer_of_a_step_is_edited_at_the_same_step_as_the_others() -> None:
    asked = Asked()
    with mm.control(pipelines.stable_diffusion(), [asked], prompts=["a cat", "a dog"]):
        pipelines.latents(["a cat", "a dog"])
    assert len(asked.steps) > 3
    assert all(sorted(set(steps)) == [0, 1, 2, 3] and steps == sorted(steps) for steps in asked.steps.values())
    assert len({tuple(steps) for steps in asked.steps.values()}) == 1


def test_trap_maps_are_of_conditional_rows_whatever_the_negative_ones_look_at() -> None:
    seen = []
    for factor in (1.0, -3.0):
        toy, recorder = denoisers.sd(4), Recorder([[[1, 2]], [[1, 2]]])
        toy.given["encoder_hidden_states"][:2] *= factor
        with mm.control(toy.model, [], PROMPTS, Branches.guided(2), [recorder]) as control:
            control.at(0, 10)
            toy()
        seen.append([recorder.mean(prompt, reduction=1) for prompt in (0, 1)])
    assert all((one - other).abs().max() < 1e-6 for one, other in zip(*seen, strict=True))
    assert (seen[0][0] - seen[0][1]).abs().max() > 1e-3


def test_trap_attention_head_dim_of_a_unet_is_its_number_of_heads() -> None:
    for count in (2, 4):
        toy, heads = denoisers.sd(heads=count), Heads()
        with mm.control(toy.model, [], PROMPTS, recorders=[heads]) as control:
            control.at(0, 10)
            toy()
        assert heads.counts == {count}


def test_trap_cross_attention_kwargs_reach_the_stock_processor_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    found, shapes = [], []

    class Scaled(AttnProcessor2_0):
        def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: Tensor | None = None,
                     temb: Tensor | None = None, strength: float = 1.0) -> Tensor:
            shapes.append(strength)
            return strength * super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)

    toy = denoisers.sd(4)
    toy.model.set_attn_processor(Scaled())
    toy.given["cross_attention_kwargs"] = {"strength": 0.5}
    caplog.clear()  # of what building the toy says
    with caplog.at_level("WARNING"):
        found.append(toy())
        with mm.control(toy.model, [], PROMPTS, recorders=[Heads()]) as control:
            control.at(0, 10)
            found.append(toy())
    assert torch.equal(*found)
    assert set(shapes) == {0.5}
    assert not caplog.records


def test_trap_a_third_chunk_of_guidance_is_named_not_guessed() -> None:
    toy, recorder = denoisers.sd(6), Recorder([[[1, 2]], [[1, 2]]])
    rows = tuple(Row(prompt, conditional=conditional) for conditional in (False, True, True) for prompt in (0, 1))
    with mm.control(toy.model, [], PROMPTS, recorders=[recorder]) as control:
        control.at(0, 10)
        with pytest.raises(ValueError, match="6 rows"):
            toy()
    with mm.control(toy.model, [SelfInject(1.0, 1.0)], PROMPTS, Branches(rows)) as control:
        control.at(0, 10)
        named = toy()
    plain = toy()
    assert torch.equal(named[[0, 1, 2, 4]], plain[[0, 1, 2, 4]])
    assert all((named[row] - plain[row]).abs().max() > 1e-6 for row in (3, 5))


def test_trap_other_attention_backends_than_the_native_one_are_refused_not_missed() -> None:
    toy = denoisers.flux(2)
    with mm.control(toy.model, [SelfInject(1.0, 1.0)], PROMPTS) as control:
        control.at(0, 10)
        toy()
        with attention_backend("flex"), pytest.raises(ValueError, match="was not seen"):
            toy()
