"""A model with a stream trains: with checkpointing, in compiled layers, one branch alone, and beside adapters of the language model."""
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mm.models import VLM
from mm.streams import DualCrossAttention, Stream
from mm.training.checkpoint import load_weights
from mm.training.rates import freeze_others, groups_of
from tests.crossings import streamed
from tests.vlms import toy
from tests.watching import CLOSE, SAMPLES, each_family, each_stream, hidden


def gradients(vlm: VLM) -> dict[str, Tensor]:
    out = vlm.train()(vlm.processor.collate([vlm.processor.encode(sample) for sample in SAMPLES]))
    cross_entropy(out.logits, out.targets).backward()
    return {name: parameter.grad for name, parameter in vlm.named_parameters() if parameter.grad is not None}


@each_family
@each_stream
def test_gradient_checkpointing_changes_no_gradient(stream: Callable[[], Stream], family: str) -> None:
    plain, checkpointed = (gradients(streamed(stream(), family, gradient_checkpointing=on)) for on in (False, True))
    assert sum(name.startswith("streams.") for name in plain) >= 6
    assert plain.keys() == checkpointed.keys()
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


def test_two_forward_passes_before_their_backward_passes_keep_their_media_apart() -> None:
    vlm = streamed(DualCrossAttention(every=1), gradient_checkpointing=True).train()
    batches = [vlm.processor.collate([vlm.processor.encode(sample)]) for sample in SAMPLES[:2]]
    losses = [cross_entropy((out := vlm(batch)).logits, out.targets) for batch in batches]
    gate = vlm.streams.blocks["0"].v2v.attention.key.weight
    late = [torch.autograd.grad(loss, gate)[0] for loss in losses]
    for batch, found in zip(batches, late, strict=True):
        out = vlm(batch)
        assert torch.equal(torch.autograd.grad(cross_entropy(out.logits, out.targets), gate)[0], found)


@pytest.mark.parametrize("placement", ["before_layer", "after_layer"])
def test_compiled_layers_compute_the_same(placement: str) -> None:
    vlm = streamed(DualCrossAttention(every=2, placement=placement))
    wanted = hidden(vlm, SAMPLES[1])[0]
    for block in vlm.language.model.base_model.layers:
        block.compile(backend="aot_eager")
    torch.testing.assert_close(hidden(vlm, SAMPLES[1])[0], wanted, **CLOSE)


def test_a_stream_may_be_new_to_the_weights_that_a_run_starts_with(tmp_path: Path) -> None:
    vlm = streamed(DualCrossAttention(every=1), is_open=False)
    plain = VLM(vlm.vision, vlm.projector, toy(seed=3).language, keep=vlm.keep).eval()
    plain.save(tmp_path / "model")
    load_weights(vlm, tmp_path)
    assert torch.equal(hidden(vlm, SAMPLES[1])[0], hidden(plain, SAMPLES[1])[0])


def test_a_stage_trains_one_branch_by_its_name() -> None:
    vlm = streamed(DualCrossAttention(every=1), is_open=False)
    rates = {"projector": 1e-3, "streams": 1e-3, "streams.*.t2v": 0}
    names = {name for group in groups_of(vlm, rates) for name in group.names if name.startswith("streams.")}
    assert names == {name for name, _ in vlm.named_parameters() if name.startswith("streams.") and ".v2v." in name}
    assert not any(group.decays for group in groups_of(vlm, rates) if any(name.endswith("gate") for name in group.names))
    freeze_others(vlm, rates)
    assert not any(".t2v." in name for name in gradients(vlm))


def test_the_language_model_does_not_own_the_blocks() -> None:
    """What replaces its maps, as adapters of low rank do, finds its own and no others, and blocks go on reading through it."""
    plain, vlm = toy(), streamed(DualCrossAttention(every=1))
    assert list(vlm.language.state_dict()) == list(plain.language.state_dict())

    class Adapted(nn.Module):
        def __init__(self, inner: nn.Linear) -> None:
            super().__init__()
            self.inner, self.down, self.up = inner, nn.Linear(inner.in_features, 2, bias=False), nn.Linear(2, inner.out_features, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) + self.up(self.down(x))

    wanted = hidden(vlm, SAMPLES[1])[0]
    for layer in vlm.language.model.base_model.layers:
        layer.self_attn.q_proj = Adapted(layer.self_attn.q_proj)
    torch.testing.assert_close(hidden(vlm, SAMPLES[1])[0], wanted, **CLOSE)
