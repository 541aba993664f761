"""Compression between encoder and projector: what is kept is untouched, what is merged is a mean, frames do not know each other."""
import pytest
import torch
from torch import Tensor

import mm
from mm.keep import VMTC, All, Keep, Pool
from mm.keep.vmtc import attention_received
from mm.reweight import ZeroTuning
from mm.tokens import Kind
from tests.vlms import about, toy


def features(frames: int = 3) -> Tensor:
    return torch.randn(frames, 16, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


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
    """Weighted by the attention that each receives; of two clusters, both means lie between, and together they are that of one."""
    x = features(frames=1)
    received = attention_received(torch.nn.functional.normalize(x.float(), dim=-1), 10.0)[0]
    rest = torch.ones(16).bool().index_fill(0, received.topk(8).indices, False)
    weight = received[rest].double()
    one, two = VMTC(kept=8, merged=1)(x, (4, 4)), VMTC(kept=8, merged=2)(x, (4, 4))
    mean = weight @ x[0, rest] / weight.sum()
    torch.testing.assert_close(one[0, 8], mean, rtol=0, atol=1e-6)
    share = (mean - two[0, 9]) @ (two[0, 8] - two[0, 9]) / (two[0, 8] - two[0, 9]).square().sum()
    assert 0 < share < 1
    torch.testing.assert_close(share * two[0, 8] + (1 - share) * two[0, 9], mean, rtol=0, atol=1e-6)


def test_equal_features_merge_into_themselves() -> None:
    x = features(frames=1)
    x[0, 4:] = -x[0, :1]  # twelve equal ones, of which eight are kept, and four others
    out = VMTC(kept=8, merged=5)(x, (4, 4))
    assert torch.equal(out[0, :8], x[0, 4:12])
    torch.testing.assert_close(out[0, 8:].sort(0).values, x[0, [0, 1, 2, 3, 4]].sort(0).values, rtol=0, atol=1e-6)


def test_a_blank_picture_gives_no_empty_tokens() -> None:
    blank = torch.ones(1, 16, 8)
    torch.testing.assert_close(VMTC(kept=4, merged=3)(blank, (4, 4)), torch.ones(1, 7, 8))
    torch.testing.assert_close(VMTC(kept=4, merged=12)(blank, (4, 4)), torch.ones(1, 16, 8))


def test_a_frame_is_the_same_alone_and_among_others() -> None:
    x, keep = features(), VMTC(kept=4, merged=3)
    torch.testing.assert_close(keep(x, (4, 4))[1:2], keep(x[1:2], (4, 4)), rtol=0, atol=1e-12)


def test_gradients_reach_kept_and_merged_features_as_the_weights_say() -> None:
    x, keep = features(frames=1).requires_grad_(), VMTC(kept=4, merged=2)
    keep(x, (4, 4)).sum().backward()
    assert (x.grad.abs().sum(-1) > 0).all()
    torch.testing.assert_close(x.grad.sum(1), torch.full((1, 8), 6.0, dtype=torch.float64), rtol=0, atol=1e-6)  # each output is a mean


def test_a_model_reads_fewer_tokens_and_steering_gives_them_back() -> None:
    model, sample = toy(), about(0)
    plain = model.next_token_logits([sample])
    assert model.geometry.tokens == 4
    with mm.steer(model, keep=VMTC(kept=2, merged=1)):
        assert model.geometry.tokens == 3
        assert (model.processor.prompt(sample).tables[0] == Kind.VISION).sum() == 3
        fewer, answer = model.next_token_logits([sample]), model.generate([sample], max_new_tokens=2)
    made = toy(keep=VMTC(kept=2, merged=1))
    assert torch.equal(made.next_token_logits([sample]), fewer)
    assert made.generate([sample], max_new_tokens=2) == answer
    assert torch.equal(model.next_token_logits([sample]), plain)
    assert (fewer - plain).abs().max() > 1e-4


def test_too_few_features_are_an_error_that_counts_them() -> None:
    with pytest.raises(ValueError, match="kept=15 and merged=2 of the 16 features that a 4x4 grid has"):
        VMTC(kept=15, merged=2).num_tokens((4, 4))
    with pytest.raises(ValueError, match="kept and rounds are at least 1"):
        VMTC(kept=0, merged=2)


def test_pooled_tokens_are_means_of_their_cells() -> None:
    x = features()
    placed = x.view(3, 4, 4, 8)
    wanted = torch.stack([placed[:, r:r + 2, c:c + 2].mean((1, 2)) for r in (0, 2) for c in (0, 2)], 1)
    torch.testing.assert_close(Pool(2)(x, (4, 4)), wanted, rtol=0, atol=1e-12)
    assert (Pool(2).num_tokens((4, 4)), Pool(2).out_grid((4, 4))) == (4, (2, 2))
    torch.testing.assert_close(Pool(1)(x, (4, 4))[:, 0], x.mean(1), rtol=0, atol=1e-12)
    influence = torch.autograd.functional.jacobian(lambda y: Pool(3)(y, (4, 4)).sum(), x)
    assert (influence > 0).all()


def test_more_means_than_the_grid_has_are_refused() -> None:
    with pytest.raises(ValueError, match="size 5 asks for more than the 4x6 grid has; take 4 or less"):
        Pool(5).num_tokens((4, 6))
    with pytest.raises(ValueError, match="at least 1; got 0"):
        Pool(0)


def test_a_keep_that_does_not_fit_changes_nothing() -> None:
    vlm = toy()
    wanted = vlm.next_token_logits([about(0)])
    with pytest.raises(ValueError, match="size 9 asks for more than the 2x2 grid has"):
        vlm.keep = Pool(9)
    with pytest.raises(ValueError, match="size 9 asks for more than the 2x2 grid has"):
        mm.steer(vlm, reweight=[ZeroTuning(1.5)], keep=Pool(9)).install()
    assert isinstance(vlm.keep, All)
    assert not vlm.reweight
    assert torch.equal(vlm.next_token_logits([about(0)]), wanted)
