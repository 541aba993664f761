"""Prefix Grouper: one mask on the packed row is the original's grouped attention, forward and gradients."""
import pytest
import torch

from mm.attention import SDPA, Reference, attend
from mm.masks import Causal, PrefixTree
from mm.tokens import TokenMap
from tests.golden import load
from tests.toys import row


def groups(info: list[int]) -> list[list[int]]:
    """Prefix and suffix lengths of each row, from the flat list that names their count first."""
    found = []
    while info:
        count, info = info[0], info[1:]
        found.append(info[:count])
        info = info[count:]
    return found


def tokens_of(golden: object, left: bool) -> TokenMap:
    rows = [row("q" * prefix + "".join(f"{b}{'a' * n}" for b, n in enumerate(suffixes, 1)))
            for prefix, *suffixes in groups(golden.group_info.tolist())]
    return TokenMap.stack(rows, golden.q.shape[2], left=left)


@pytest.mark.parametrize("backend", [SDPA(), Reference()], ids=lambda b: type(b).__name__)
@pytest.mark.parametrize("mask", [PrefixTree(), Causal()], ids=repr)
@pytest.mark.parametrize("side", ["left", "right"])
def test_one_mask_equals_the_original(side: str, mask: PrefixTree, backend: SDPA) -> None:
    golden = load("longcontext", f"prefix_grouper_{side}")
    tokens = tokens_of(golden, left=side == "left")
    assert torch.equal(tokens.is_real, golden.padding_mask)
    assert torch.equal(tokens.is_real & (tokens.branch == 0), golden.grouped_prefix_mask)
    q, k, v = (x.requires_grad_() for x in (golden.q, golden.k, golden.v))
    out = attend(q, k, v, mask.dense(tokens), backend=backend).out.transpose(1, 2)
    real = tokens.is_real[..., None, None]
    torch.testing.assert_close(out * real, golden.o, rtol=0, atol=1e-12)
    found = torch.autograd.grad((out * golden.w * real).sum(), (q, k, v))
    for grad, wanted in zip(found, (golden.dq, golden.dk, golden.dv), strict=True):
        torch.testing.assert_close(grad, wanted, rtol=0, atol=1e-12)
