"""Dynamic mask attention learns, also when layers are recomputed, and what it has learned is saved."""
from pathlib import Path

import torch

from mm.models import VLM
from mm.reweight import DMA
from tests.vlms import about, assert_checkpointing_changes_no_gradient, assert_saving_keeps, toy


def test_it_learns_under_gradient_checkpointing_as_without() -> None:
    def make(checkpointed: bool) -> VLM:
        vlm = toy(reweight=[DMA(6)], gradient_checkpointing=checkpointed).train()
        with torch.no_grad():
            torch.nn.init.normal_(vlm.reweight[0].strength, generator=torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
        return vlm

    assert_checkpointing_changes_no_gradient(make, ("reweight.0.strength", "reweight.0.gate"))


def test_a_fresh_one_begins_to_learn() -> None:
    vlm = toy(reweight=[DMA(6)]).train()
    vlm(vlm.processor.collate([vlm.processor.encode(about(0))])).logits.square().sum().backward()
    assert (vlm.reweight[0].strength.grad != 0).all()  # type: ignore[attr-defined]


def test_a_saved_model_answers_as_the_one_that_was_trained(tmp_path: Path) -> None:
    vlm = toy(reweight=[DMA(6, block=2)])
    assert_saving_keeps(vlm, vlm.reweight[0].strength, tmp_path)  # type: ignore[attr-defined]
