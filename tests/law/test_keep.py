"""Compression between encoder and projector: what is kept is untouched, what is merged is a mean, frames do not know each other."""
import pytest
import torch
from torch import Tensor

from mm.keep import VMTC, All, Keep
from mm.keep.vmtc import attention_received
from tests.vlms import about, toy


def features(frames: int = 3, places: int = 16, width: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(frames, places, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("keep", [All(), VMTC(kept=16, merged=0), VMTC(kept=16, merged=3)], ids=repr)
def test_keeping_everything_is_the_identity(keep: Keep) -> None:
    x = features()
    assert keep(x, (4, 4)) is x
    assert (keep.num_tokens((4, 4)), keep.out_grid((4, 4))) == (16, (4, 4))


def test_the_most_attended_features_come_first_and_in_order() -> None:
    x = features()
    out = VMTC(kept=5, merged=2)(x, (4, 4))
    received = attention_received(torch.nn.functional.normalize(x.float(), dim=-1), 10.0)
    for frame in range(3):
        best = received[frame].topk(5).indices.sort().values
        assert torch.equal(out[frame, :5], x[frame, best])
    assert out.shape == (3, 7, 8)


def test_merged_tokens_are_means_of_what_is_not_kept() -> None:
    x = features(frames=1)
    x[0, 8:] = x[0, 8:9]  # eight equal features: wherever they are merged, their mean is themselves
    out = VMTC(kept=8, merged=8)(x, (4, 4))
    single = VMTC(kept=8, merged=1)(x, (4, 4))
    assert out.isfinite().all()
    assert single[0, 8].norm() <= x[0].norm(dim=-1).max() + 1e-9


def test_a_frame_is_the_same_alone_and_among_others() -> None:
    x, keep = features(), VMTC(kept=4, merged=3)
    torch.testing.assert_close(keep(x, (4, 4))[1:2], keep(x[1:2], (4, 4)), rtol=0, atol=1e-12)


def test_gradients_reach_kept_and_merged_features_as_the_weights_say() -> None:
    x, keep = features(frames=1).requires_grad_(), VMTC(kept=4, merged=2)
    keep(x, (4, 4)).sum().backward()
    assert (x.grad.abs().sum(-1) > 0).all()
    torch.testing.assert_close(x.grad.sum(1), torch.full((1, 8), 6.0, dtype=torch.float64), rtol=0, atol=1e-6)  # each output is a mean


def test_a_model_reads_fewer_tokens_and_steering_gives_them_back() -> None:
    import mm

    model, sample = toy(), about(0)
    plain = model.next_token_logits([sample])
    assert model.geometry.tokens == 4
    with mm.steer(model, keep=VMTC(kept=2, merged=1)):
        assert model.geometry.tokens == 3
        assert model.processor.prompt(sample).tables.shape[1] == len(model.processor.prompt(sample).input_ids)
        fewer = model.next_token_logits([sample])
        assert model.generate([sample], max_new_tokens=2)
    assert torch.equal(model.next_token_logits([sample]), plain)
    assert (fewer - plain).abs().max() > 1e-4


def test_too_few_features_are_an_error_that_counts_them() -> None:
    with pytest.raises(ValueError, match="kept=15 and merged=2 of the 16 features that a 4x4 grid has"):
        VMTC(kept=15, merged=2).num_tokens((4, 4))
    with pytest.raises(ValueError, match="kept and rounds are at least 1"):
        VMTC(kept=0, merged=2)
