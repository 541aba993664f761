"""Video-CCAM's causal cross-attention: what its mask says of frames, and what follows for the tokens."""
import hypothesis.strategies as some
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from mm.streams import CausalCeil, CausalCrossAttention, CausalFloor, ClipTime, FrameMask, Full
from mm.streams.prefixes import prefix_attention
from tests.allocation import Largest
from tests.query_projectors import features, made
from tests.toys import random_qkv

GRID = (2, 3)
CLOSE = {"rtol": 0, "atol": 1e-12}
COUNTS = {"queries": some.integers(1, 40), "frames": some.integers(1, 60)}
MASKS: tuple[FrameMask, ...] = (CausalCeil(), CausalFloor(), Full())


def tokens(projector: CausalCrossAttention, clip: Tensor) -> Tensor:
    with torch.no_grad():
        return projector(clip, GRID, [len(clip)])[0]


@given(**COUNTS)
def test_rows_of_the_ceil_mask(queries: int, frames: int) -> None:
    last = CausalCeil().last(queries, frames)
    assert last.tolist() == [int(np.ceil(np.float64(i + 1) * frames / queries - 1e-9)) - 1 for i in range(queries)]
    assert (np.diff(last) >= 0).all()
    assert last[0] >= 0
    assert last[-1] == frames - 1


@given(**COUNTS)
def test_floor_is_ceil_where_frames_divide_queries_and_never_sees_further(queries: int, frames: int) -> None:
    ceil, floor = CausalCeil().last(queries * frames, frames), CausalFloor().last(queries * frames, frames)
    assert (ceil == floor).all()
    assert (CausalFloor().last(queries, frames) <= CausalCeil().last(queries, frames)).all()


def test_floor_hides_the_last_frames_from_too_few_queries() -> None:
    assert CausalFloor().last(1024, 2048)[-1] == 2046
    assert CausalCeil().last(1024, 2048)[-1] == 2047


@settings(deadline=None, max_examples=60)
@given(**COUNTS, mask=some.sampled_from(MASKS), size=some.integers(1, 3), joined=some.sampled_from([1, 8, 512]))
def test_frame_by_frame_is_the_dense_mask(queries: int, frames: int, mask: FrameMask, size: int, joined: int) -> None:
    first = mask.first(queries, frames)
    q, k, v = random_qkv(queries, batch=2, queries=queries, keys=frames * size, grad=True)
    seen = torch.arange(queries)[:, None] >= torch.from_numpy(first).repeat_interleave(size)
    scores = q @ k.repeat_interleave(2, 1).transpose(-1, -2) / q.shape[-1] ** 0.5
    wanted = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v.repeat_interleave(2, 1)
    found = prefix_attention(q, k, v, first.tolist(), joined=joined)
    torch.testing.assert_close(found, wanted, **CLOSE)
    weight = torch.randn_like(found)
    for ours, theirs in zip(*(torch.autograd.grad((out * weight).sum(), (q, k, v)) for out in (found, wanted)), strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_dropped_weights_keep_the_mask_and_the_mean(mask: FrameMask) -> None:
    q, k, v = random_qkv(queries=6, keys=12)
    first = mask.first(6, 4).tolist()
    torch.manual_seed(0)
    mean = torch.stack([prefix_attention(q, k, v, first, dropout=0.2) for _ in range(3000)]).mean(0)
    torch.testing.assert_close(mean, prefix_attention(q, k, v, first), rtol=0, atol=0.06)
    later = k.clone(), v.clone()
    for table in later:
        table[:, :, 9:] = torch.nan
    unseen = prefix_attention(q, *later, first, dropout=0.2)[:, :, :first[3]]
    assert bool(unseen.isfinite().all())


@pytest.mark.parametrize("name", ["ccam v1.0", "ccam v1.2", "ccam floor"])
@pytest.mark.parametrize("frames", [1, 3, 4, 9])
def test_a_frame_changes_only_queries_that_see_it(name: str, frames: int) -> None:
    projector, clip = made(name), features([frames])
    before, last = tokens(projector, clip), projector.places(GRID)(frames)[0]
    for frame in range(frames):
        changed = clip.clone()
        changed[frame] += torch.randn_like(changed[frame])
        same = torch.from_numpy(last < frame)
        after = tokens(projector, changed)
        assert torch.equal(after[same], before[same])
        assert bool((after[~same] != before[~same]).any(-1).all())


@pytest.mark.parametrize("joined", [1, 6, 512])
def test_frames_not_seen_change_nothing_however_they_are_joined(joined: int) -> None:
    q, k, v = random_qkv(queries=9, keys=14)
    first = CausalCeil().first(9, 7).tolist()
    before = prefix_attention(q, k, v, first, joined=joined)
    for frame in range(7):
        changed = k.clone(), v.clone()
        for table in changed:
            table[:, :, 2 * frame:2 * frame + 2] += 1
        after = prefix_attention(q, *changed, first, joined=joined)
        assert torch.equal(after[:, :, :first[frame]], before[:, :, :first[frame]])
        assert bool((after[:, :, first[frame]:] != before[:, :, first[frame]:]).any(-1).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_low_precision_stays_near_the_dense_mask(dtype: torch.dtype) -> None:
    q, k, v = (x.to(dtype) for x in random_qkv(queries=64, keys=64 * 4))
    first = CausalCeil().first(64, 64)
    seen = torch.arange(64)[:, None] >= torch.from_numpy(first).repeat_interleave(4)
    wanted = torch.nn.functional.scaled_dot_product_attention(q.double(), k.double(), v.double(), seen, enable_gqa=True)
    found = prefix_attention(q, k, v, first.tolist(), joined=1)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=2e-2 if dtype == torch.bfloat16 else 5e-6)


@pytest.mark.parametrize("name", ["ccam v1.0", "ccam v1.2"])
def test_the_last_query_counts_neither_frames_nor_their_order(name: str) -> None:
    projector, clip = made(name), features([4])
    wanted = tokens(projector, clip)[-1]
    for again in (clip.repeat_interleave(3, 0), clip[[2, 0, 3, 1]]):
        torch.testing.assert_close(tokens(projector, again)[-1], wanted, **CLOSE)


def test_order_is_seen_through_the_mask_or_through_time_and_not_without_either() -> None:
    clip, shuffled = features([4]), features([4])[[2, 0, 3, 1]]
    projector = made("ccam v1.0")
    changed = (tokens(projector, clip) - tokens(projector, shuffled)).abs().amax(-1)
    assert bool((changed[:-2] > 1e-3).all())  # 6 queries, 4 frames: the last two see everything
    projector.mask = Full()
    torch.testing.assert_close(tokens(projector, clip), tokens(projector, shuffled), **CLOSE)
    projector.time = ClipTime(2)
    assert bool(((tokens(projector, clip) - tokens(projector, shuffled)).abs().amax(-1) > 1e-3).all())


def test_an_image_is_plain_cross_attention_under_every_mask() -> None:
    projector, image = made("ccam v1.0"), features([1])
    found = []
    for mask in MASKS:
        projector.mask = mask
        found.append(tokens(projector, image))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("times", [3, 5])
def test_repeated_frames_keep_the_time_of_their_middle(times: int) -> None:
    time, like = ClipTime(3), torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(time(4 * times, 10, like)[times // 2::times], time(4, 10, like), **CLOSE)


def test_times_tell_frames_apart_and_longer_clips_stay_between_those_of_training() -> None:
    time, like = ClipTime(), torch.zeros((), dtype=torch.float64)
    for frames in (6, 16, 24, 96):
        assert torch.pdist(time(frames, 32, like)).min() > 0.05
    trained, longer = time(96, 32, like), time(500, 32, like)[5:-5]
    assert torch.cdist(longer, trained).amin(1).max() <= torch.pdist(trained[:2]).max()


def test_odd_widths_have_times_too() -> None:
    assert ClipTime()(4, 7, torch.zeros(())).shape == (4, 7)
    with pytest.raises(ValueError, match=r"got cycles=0\.1"):
        ClipTime(0.1)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="ffn is mlp or gated; got 'swiglu'"):
        CausalCrossAttention(16, 8, heads=2, ffn="swiglu")
    with pytest.raises(ValueError, match="CausalCrossAttention: a width of 15 does not divide into 16 heads; give another width or heads"):
        CausalCrossAttention(15, 8)


@pytest.mark.parametrize("frames", [48, 96])
def test_nothing_as_large_as_a_dense_mask_is_made(frames: int) -> None:
    queries, size = 512, 64
    q, k, v = (x.float().detach().requires_grad_() for x in random_qkv(batch=1, heads=1, key_heads=1, queries=queries, keys=frames * size))
    with Largest() as largest:
        prefix_attention(q, k, v, CausalCeil().first(queries, frames).tolist()).sum().backward()
    assert largest.bytes < queries * frames * size  # bytes of a mask of bools; scores would take four times as many
    assert largest.bytes >= k.nbytes


def test_a_mask_that_breaks_its_promise_is_named() -> None:
    class Backwards(CausalCeil):
        def last(self, queries: int, frames: int) -> np.ndarray:
            return super().last(queries, frames)[::-1].copy()

    with pytest.raises(ValueError, match=r"Backwards.last\(4, 2\) must be 4 ascending frames from 0 to 1"):
        CausalCrossAttention(8, 8, queries=4, heads=2, mask=Backwards())(torch.randn(2, 3, 8), GRID, [2])
