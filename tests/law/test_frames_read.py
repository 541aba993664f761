"""Which frame each query read is the attention's own weight, summed over the frame."""
import numpy as np
import pytest
import torch

from mm.analysis import draw_frames_read, frames_read, frames_read_of
from mm.models import VLM
from mm.streams import CausalCrossAttention, CausalFloor
from tests.allocation import Largest
from tests.query_projectors import features, made
from tests.vlms import picture, toy


@pytest.mark.parametrize("name", ["ccam v1.0", "ccam v1.2", "ccam floor", "full, with time"])
@pytest.mark.parametrize("frames", [1, 4, 9])
def test_shares_are_sums_of_weights(name: str, frames: int) -> None:
    projector, x = made(name), features([frames])
    q, k, _ = projector.qkv(x[None])
    seen = torch.arange(projector.queries)[:, None] >= torch.from_numpy(projector.mask.first(projector.queries, frames)).repeat_interleave(6)
    scores = q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).transpose(-1, -2) / q.shape[-1] ** 0.5
    wanted = scores.masked_fill(~seen, -torch.inf).softmax(-1).unflatten(-1, (frames, 6)).sum(-1)[0].mean(0)
    found = frames_read(projector, x)
    torch.testing.assert_close(found, wanted.float(), rtol=0, atol=1e-6)
    assert not found[~seen[:, ::6]].any()


def test_no_weights_are_made() -> None:
    projector = CausalCrossAttention(8, 8, queries=256, heads=1)
    x = torch.randn(8, 96, 8)
    with Largest() as largest:
        frames_read(projector, x)
    assert 0 < largest.bytes < 256 * 8 * 96 * 4


def test_a_model_s_clip_is_read_as_the_model_sees_it() -> None:
    plain = toy()
    vlm = VLM(plain.vision, CausalCrossAttention(16, 32, queries=6, heads=2, dropout=0.5), plain.language).train()
    media = picture(frames=3)
    share = frames_read_of(vlm, media)
    assert share.shape == (6, 3)
    torch.testing.assert_close(share.sum(1), torch.ones(6))
    assert torch.equal(share[:2, 1:], torch.zeros(2, 2))
    assert vlm.training
    torch.testing.assert_close(share, frames_read_of(vlm, media))
    with pytest.raises(ValueError, match="MLP has no queries that read frames"):
        frames_read_of(plain, media)


def test_the_picture_shows_the_shares_and_leaves_out_what_is_not_seen() -> None:
    share = torch.full((8, 4), 0.25)
    drawn = draw_frames_read(share, CausalFloor().last(8, 4)).axes[0].images[0].get_array()
    assert isinstance(drawn, np.ma.MaskedArray)
    assert (~drawn.mask).sum(1).tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert np.asarray(draw_frames_read(share).axes[0].images[0].get_array()).shape == (8, 4)
