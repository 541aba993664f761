"""How much an answer trusts one of its own tokens too much: the penalty of OPERA as equations, on the newest token's attention.

Everything follows from rows of the last layer: the largest weight over heads, rows made to sum to 1 again (`looked`). What was measured on recorded
numbers of the original is in tests/parity/test_opera.py.
"""
from collections.abc import Sequence

import torch
from torch import Tensor

SHORT = 10  # rows of an answer up to which looking at the picture counts, instead of columns
TINY = 1e-7  # factor of the products, which are kept in half precision


def looked(weights: Tensor) -> Tensor:
    """Weights [..., H, N] of a row → [..., N]: the largest over heads, as shares of their sum."""
    most = weights.amax(-2)
    return most / most.sum(-1, keepdim=True)


def grown(products: Tensor, row: Tensor) -> Tensor:
    """Products over rows i >= j of what row i has in column j, [..., R], from those of the rows before, [..., R - 1], and the newest row, scaled."""
    return torch.cat([products * row[..., :-1], row[..., -1:]], -1)


def trusted(products: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of products [..., R]: the largest, in float32 as half precision keeps 1e-7 of it, and the column that has it.

    More than half precision holds counts as its largest number: the released code has infinities there, and then goes on with tokens at random.
    """
    largest = torch.finfo(torch.float16).max
    penalty, column = (TINY * products).clamp(max=largest).to(torch.float16).max(-1)
    return penalty.float(), column


def penalty(products: Tensor, row: Tensor, pictures: Tensor) -> Tensor:
    """What is taken off the newest token's score. row: where it looked, [..., N]; pictures: bool [..., N], tokens of pictures.

    For the first `SHORT` rows minus the share of attention on pictures, later the largest product.
    """
    if products.shape[-1] <= SHORT:
        return -(row * pictures).sum(-1)
    return trusted(products)[0]


def most_frequent(values: Sequence[int]) -> int:
    """The smallest of those that come most often."""
    return min(values, key=lambda value: (-values.count(value), value))
