"""gCOG's models: samples stand alone, gradients are right, and equal latents are one."""
import pytest
import torch

from mm.models.gcog import LatentCrossAttention, Perceiver, SimpleCrossAttention
from mm.models.gcog.base import RuleAndStimulus
from tests.double import close, fresh, random

STREAMS: list[type[RuleAndStimulus]] = [SimpleCrossAttention, LatentCrossAttention, Perceiver]
SMALL = {"rule_inputs": 3, "stimulus_inputs": 2, "longest_rule": 5, "longest_stimulus": 6, "width": 4, "heads": 2, "answers": 3}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_model_treats_samples_alone_and_has_gradients(kind: type[RuleAndStimulus]) -> None:
    model = fresh(kind(**SMALL))
    rule, stimulus, order = random(3, 4, 3), random(3, 6, 2, seed=1), torch.tensor([1, 2, 0])
    found = model(rule, stimulus)
    close(found.exp().sum(-1), torch.ones(3, dtype=torch.float64))
    close(model(rule[order], stimulus[order]), found[order])
    assert torch.autograd.gradcheck(model, (rule[:1].requires_grad_(), stimulus[:1].requires_grad_()), fast_mode=True)
    assert (model(rule.roll(1, 1), stimulus) - found).abs().max() > 1e-6
    with pytest.raises(ValueError, match="7 tokens, and positions for 6"):
        model(rule, random(3, 7, 2))


def test_ten_equal_latents_say_what_one_says() -> None:
    ten, one = (fresh(Perceiver(**SMALL, latents=latents)) for latents in (10, 1))
    rule, stimulus = random(2, 4, 3), random(2, 6, 2, seed=1)
    close(ten(rule, stimulus), one(rule, stimulus))
