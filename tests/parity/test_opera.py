"""OPERA's penalty against numbers of the original implementation (tests/golden/reweight)."""
import pytest
import torch
from torch import Tensor

from mm.decoding.overtrust import grown, looked, most_frequent, penalty, trusted
from tests.golden import load


def products(square: Tensor) -> Tensor:
    """As a search makes them: row by row, from a response square [..., R, R]."""
    found = square[..., 0, :0]
    for row in range(square.shape[-1]):
        found = grown(found, square[..., row, :row + 1])
    return found


@pytest.mark.parametrize("case", ["opera_short", "opera_long"])
def test_penalty_and_the_token_that_is_trusted(case: str) -> None:
    golden = load("reweight", case)
    rows = looked(golden.attn_headmax[..., None, :])
    start = int(golden.response_start)
    own = products(float(golden.scale_factor) * rows[..., start:, start:])
    pictures = torch.zeros(rows.shape[-1], dtype=torch.bool)
    pictures[int(golden.image_start):int(golden.image_end_inclusive) + 1] = True
    found = penalty(own, rows[..., -1, :], pictures)
    torch.testing.assert_close(found, golden.penalty.float(), atol=1e-7 if case == "opera_short" else 0, rtol=0)  # a sum's order is the processor's
    columns = trusted(own)[1]
    torch.testing.assert_close(columns, golden.col, atol=0, rtol=0)
    assert most_frequent([most_frequent(row) for row in columns.tolist()]) == int(golden.rollback_loc)
