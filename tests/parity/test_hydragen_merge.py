"""Hydragen: parts over shared prefixes and a unique suffix merge to the original's output."""
import torch

from mm.attention import attend, merge
from tests.golden import load


def test_parts_and_their_merge_equal_the_original() -> None:
    golden = load("longcontext", "hydragen_merge")
    q = golden.q.transpose(1, 2)  # recorded as [B, N, H, D]
    keys = [(golden.shared_k0, golden.shared_v0), (golden.shared_k1, golden.shared_v1), (golden.k, golden.v)]
    parts = []
    for g, (k, v) in enumerate(keys):
        k, v = (x.transpose(1, 2).expand(q.shape[0], -1, -1, -1) for x in (k, v))
        part = attend(q, k, v, causal=g == 2, need_lse=True)
        torch.testing.assert_close(part.out.transpose(1, 2), getattr(golden, f"out{g}"), rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(part.lse.transpose(1, 2), getattr(golden, f"lse{g}"), rtol=1e-5, atol=2e-6)
        parts.append(part)
    torch.testing.assert_close(merge(parts).out.transpose(1, 2), golden.merged, rtol=1e-5, atol=2e-6)


def test_sequences_folded_into_rows_of_one_prefix_are_the_same() -> None:
    """The form that makes it fast: every sequence's queries are rows against the single copy of the prefix."""
    golden = load("longcontext", "hydragen_merge")
    q = golden.q.transpose(1, 2)
    batch, heads, queries, width = q.shape
    k, v = golden.shared_k0.transpose(1, 2), golden.shared_v0.transpose(1, 2)
    folded = q.transpose(0, 1).reshape(1, heads, batch * queries, width)
    part = attend(folded, k, v, need_lse=True)
    out = part.out.view(heads, batch, queries, width).permute(1, 2, 0, 3)
    torch.testing.assert_close(out, golden.out0, rtol=1e-5, atol=2e-6)
