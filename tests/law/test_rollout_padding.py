"""Rollout and padding: what a masked token holds, however large, changes nothing, and a sample of padding alone is no accident."""
import torch
from torch import Tensor

from mm.attention import attend
from mm.vision.attention import Attended, rollout_row
from tests.double import close, random


def layer(q: Tensor, k: Tensor, real: Tensor) -> Attended:
    part = attend(q, k, k, real[:, None, None], need_lse=True)
    assert part.lse is not None
    return Attended(q, k, part.lse)


def test_a_padded_token_with_a_large_key_changes_nothing() -> None:
    """Its score would be e^1000 times what the row's real keys sum to, and infinity times zero is no number."""
    q, k, real = random(2, 2, 6, 4), random(2, 2, 6, 4, seed=1), torch.arange(6) < torch.tensor([[6], [4]])
    large = k.clone()
    large[1, :, 4:] = 2000 * q[1, :, :1] / q[1, :, :1].norm(dim=-1, keepdim=True) ** 2
    found, expected = (rollout_row([layer(q, keys, real)] * 2, real=real) for keys in (large, k))
    close(found, expected)


def test_a_sample_of_padding_alone_stays_finite() -> None:
    """Nothing is seen, so nothing but the residual half of each layer is passed down."""
    q, real = random(2, 2, 5, 4), torch.tensor([[True] * 5, [False] * 5])
    found = rollout_row([layer(q, q, real)] * 2, real=real)
    close(found[0].sum(), torch.tensor(1.0, dtype=torch.float64))
    close(found[1], 0.25 * torch.eye(5, dtype=torch.float64)[0])
