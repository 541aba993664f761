"""DCAL against loops over the paper's equations; it has no public code."""
import torch
from torch import Tensor

from mm.attention import attend
from mm.vision.attention import Attended, pairwise_attention, rollout_row, top_patches
from tests.golden import load


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_rollout_row_equals_the_product_of_matrices() -> None:
    golden = load("projectors", "derived_dcal")
    layers = []
    for attention in golden.attn_per_layer:  # keys that are unit vectors, queries that are logarithms: scores whose softmax is the recorded matrix
        q = attention.log()[None]
        layers.append(Attended(q, torch.eye(q.shape[-1], dtype=q.dtype).expand_as(q), torch.zeros(q.shape[:3], dtype=q.dtype)))
    for row in range(golden.rollout.shape[0]):
        close(rollout_row(layers, row, scale=1.0)[0], golden.rollout[row])
    scores = rollout_row(layers, scale=1.0)
    close(scores[0, 1:], golden.cls_scores)
    chosen = top_patches(scores, share=int(golden.R) / golden.cls_scores.numel())
    assert torch.equal(chosen[0] - 1, golden.top_idx)


def test_global_local_and_pairwise_attention_equal_loops() -> None:
    golden = load("projectors", "derived_dcal")
    q, k, v, k2, v2 = (x.unflatten(-1, (int(golden.heads), -1)).transpose(0, 1)[None] for x in (golden.q, golden.k, golden.v, golden.k2, golden.v2))
    few = attend(q[:, :, golden.top_idx + 1], k, v).out
    close(few[0].transpose(0, 1).flatten(1), golden.glca_patches)
    both = pairwise_attention(q, (k, v), (k2, v2)).out
    close(both[0].transpose(0, 1).flatten(1), golden.pwca)
