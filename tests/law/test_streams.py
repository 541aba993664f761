"""What every stream needs: one cross-attention on mm's kernels, and projectors that say beforehand what a medium becomes."""
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from mm.models import VLM
from mm.sample import Media, Sample, Turn
from mm.streams import ClipProjector, CrossAttention, FrameByFrame, Grid
from mm.tokens import Kind
from tests.vlms import toy

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_cross_attention_is_softmax_written_out(key_heads: int) -> None:
    torch.manual_seed(0)
    attention = CrossAttention(8, 6, heads=4, key_heads=key_heads, head_width=3, out_width=5, bias=True, out_bias=True).double()
    x, source = torch.randn(2, 3, 8).double(), torch.randn(2, 7, 6).double()
    mask = torch.rand(2, 1, 3, 7) > 0.4
    mask[0, 0, 1] = False
    q, (k, v) = attention.query(x).view(2, 3, 4, 3), attention.keys(source)
    k, v = (table.repeat_interleave(4 // key_heads, 1) for table in (k, v))
    scores = torch.einsum("bqhd,bhnd->bhqn", q, k) / 3**0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num(0.0)
    wanted = attention.out(torch.einsum("bhqn,bhnd->bqhd", weights, v).flatten(2))
    torch.testing.assert_close(attention(x, source, mask), wanted, **EXACT)
    torch.testing.assert_close(attention(x, attention.keys(source), mask), wanted, **EXACT)
    assert torch.equal(attention(x, source, mask)[0, 1], attention.out.bias)


def test_heads_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="3 heads of keys cannot be shared evenly by 4"):
        CrossAttention(8, 6, heads=4, key_heads=3)
    with pytest.raises(ValueError, match="a width of 9 does not divide into 4 heads"):
        CrossAttention(9, 6, heads=4)


def test_tokens_of_frames_lie_in_raster_order() -> None:
    places = pickle.loads(pickle.dumps(FrameByFrame(6, (2, 3))))
    assert places(2).tolist() == [[0] * 6 + [1] * 6, [0, 0, 0, 1, 1, 1] * 2, [0, 1, 2] * 4]
    assert FrameByFrame(2, None)(1).tolist() == [[0, 0], [-1, -1], [-1, -1]]


class Ends(ClipProjector):
    """The mean of the first frame and that of the last."""

    def out_grid(self, grid: Grid) -> None:
        return None

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        return 2

    def places(self, grid: Grid) -> "Firsts":
        return Firsts()

    def forward(self, x: Tensor, grid: Grid, frames: Sequence[int]) -> Tensor:
        means = [clip.mean(1)[[0, -1]] for clip in x.split(list(frames))]
        return torch.stack(means).repeat(1, 1, 2)


class Firsts:
    def __call__(self, frames: int) -> np.ndarray:
        return np.array([[0, frames - 1], [-1, -1], [-1, -1]])


def clips(lengths: Sequence[int]) -> list[Sample]:
    random = np.random.default_rng(0)
    return [Sample(f"clip of {n}", (Media(random.integers(0, 255, (n, 16, 16, 3), dtype=np.uint8), "clip"),), (Turn("<video> a", "b"),))
            for n in lengths]


def test_media_of_different_lengths_share_a_batch_with_a_projector_that_reads_them_whole() -> None:
    vlm = toy()
    vlm = VLM(vlm.vision, Ends(16, 32), vlm.language).eval()
    samples = clips([3, 1, 2])
    batch = vlm.processor.collate([vlm.processor.encode(sample) for sample in samples])
    assert batch.frames.tolist() == [3, 1, 2]
    assert (batch.tokens.kind == Kind.VISION).sum(1).tolist() == [2, 2, 2]
    assert batch.tokens.frame[batch.tokens.is_vision].tolist() == [0, 2, 0, 0, 0, 1]
    with torch.no_grad():
        together = vlm.embed(batch)
        for b, sample in enumerate(samples):
            alone = vlm.embed(vlm.processor.collate([vlm.processor.encode(sample)]))
            torch.testing.assert_close(together[b, :alone.shape[1]], alone[0], rtol=0, atol=1e-6)
