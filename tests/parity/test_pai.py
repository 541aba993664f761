"""PAI's part inside attention against the vectors of its released code."""
import pytest
import torch

from mm.attention import reweighted
from mm.reweight import PAI
from tests.golden import load
from tests.toys import row


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_only_the_newest_row_looks_more_at_the_image(dtype: torch.dtype) -> None:
    golden = load("reweight", "pai_attention")
    start, stop, length = int(golden.img_start), int(golden.img_end), golden.q.shape[2]
    tokens = row("s" * start + "i" * (stop - start) + "q" * (length - stop))
    inputs = tuple(x.to(dtype) for x in (golden.q, golden.k, golden.v))
    plain, found = reweighted(*inputs, [], tokens), reweighted(*inputs, [PAI(float(golden.alpha))], tokens)
    torch.testing.assert_close(found, golden.out.to(dtype), rtol=0, atol=1e-6)
    torch.testing.assert_close(plain, golden.out_cfg_branch.to(dtype), rtol=0, atol=1e-6)
    assert torch.equal(found[:, :, :-1], plain[:, :, :-1])
