"""What blocks inside the language model cost: the formula is what PyTorch counts, the promised savings hold, and the published costs come out."""
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.streams import ALL, DUAL, FEW, OWN, POOLED, PUBLISHED, Prefill, Setting, published
from mm.streams import DualCrossAttention, Shape, Sources
from mm.training.flops import Work
from tests.crossings import crossing, opened, rows_of, streamed
from tests.vlms import toy


@pytest.mark.parametrize("setting", [POOLED, DUAL, OWN, Setting("", 1, 1, DUAL.scope), replace(OWN, text=200)], ids=lambda each: each.name)
def test_the_formula_is_what_pytorch_counts(setting: Setting) -> None:
    assert Prefill(setting).counted() == setting.flop


def test_blocks_spare_what_they_promise() -> None:
    assert ALL.flop / DUAL.flop >= 150
    assert FEW.flop / DUAL.flop >= 13
    assert ALL.flop / OWN.flop >= 290
    assert FEW.flop / OWN.flop >= 25


def test_the_formula_gives_the_prototype_s_figures() -> None:
    for setting, gigaflop in ((ALL, 2388.8), (FEW, 204.4), (POOLED, 2.71), (DUAL, 14.65), (OWN, 7.99), (replace(DUAL, every=1), 50.5)):
        assert setting.flop / 1e9 == pytest.approx(gigaflop, rel=2e-3)


def test_text_adds_nothing_to_what_visual_tokens_read() -> None:
    shape = Shape(width=32, heads=4, key_heads=2, head_width=8, hidden=32, eps=1e-6)
    counts = []
    for text in (5, 50):
        media = torch.cat([torch.zeros(1, 6, dtype=torch.long), -torch.ones(1, text, dtype=torch.long)], 1)
        sources = Sources(torch.randn(60, 12), [[60]], rows_of(media))
        stream = DualCrossAttention()
        block = stream.block(shape, 12)
        opened(block)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            block.v2v(torch.randn(6 + text, 32), (passing := crossing(stream, sources)).keys(block.v2v.attention), passing.plan["v2v"])
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_a_training_step_s_work_counts_the_maps_of_the_blocks() -> None:
    plain, streamed_ = Work(toy()), Work(streamed(DualCrossAttention(every=1)))
    width, source, inner, shared = 32, 16, 32, 16
    assert streamed_.frame - plain.frame == 6 * 4 * 2 * 4 * source * shared
    assert streamed_.token - plain.token == 6 * 2 * 2 * (2 * width * inner + width + 1)


@pytest.mark.parametrize("frames", PUBLISHED)
def test_the_published_costs_are_those_of_this_layout(frames: int) -> None:
    """The evidence for it: keys and values of both branches straight from raw features at the width of grouped heads, no MLP, seven blocks."""
    assert round(abs(published(frames) - PUBLISHED[frames]), 3) <= 0.012
