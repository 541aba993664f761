"""DCAL: the rollout is a product of matrices that are never made, a pair is one softmax, local tokens read as they would in a whole block."""
import pytest
import torch
from torch import Tensor

from mm.attention import attend
from mm.training import UncertaintyWeighted
from mm.vision.attention import DCAL, Attended, GlobalLocal, Trunk, pairwise_attention, random_partners, rollout_row, top_patches
from tests.allocation import Largest
from tests.double import close, fresh, random

# Rollout


def attended(seed: int, heads: int = 4, key_heads: int = 2, tokens: int = 9, real: Tensor | None = None) -> tuple[Attended, Tensor]:
    """A layer, and its mean matrix [B, N, N]."""
    q, k = random(2, heads, tokens, 3, seed=seed), random(2, key_heads, tokens, 3, seed=seed + 50)
    mask = None if real is None else real[:, None, None]
    part = attend(q, k, k, mask, need_lse=True)
    names = torch.eye(tokens, dtype=torch.float64).expand(2, key_heads, tokens, tokens)
    return Attended(q, k, part.lse), attend(q, k, names, mask).out.mean(1)


@pytest.mark.parametrize("padded", [False, True])
def test_a_row_of_the_rollout_is_that_of_the_product(padded: bool) -> None:
    real = torch.arange(9) < torch.tensor([[9], [6]]) if padded else None
    layers, matrices = zip(*(attended(seed, real=real) for seed in range(3)), strict=True)
    product = torch.eye(9, dtype=torch.float64)
    for matrix in matrices:
        product = (matrix + torch.eye(9, dtype=torch.float64)) / 2 @ product
    for row in (0, 5):
        found = rollout_row(layers, row, real=real)
        close(found, product[:, row])
        close(found.sum(-1), torch.ones(2, dtype=torch.float64))
    if padded:
        assert (rollout_row(layers, real=real)[1, 6:] == 0).all()


def test_the_rollout_of_identity_attention_is_the_row_itself() -> None:
    q = 100 * torch.eye(6, dtype=torch.float64)[None, None]
    part = attend(q, q, q, need_lse=True)
    row = rollout_row([Attended(q, q, part.lse)] * 4, row=2)
    close(row, torch.eye(6, dtype=torch.float64)[2:3])


def test_the_rollout_never_makes_a_matrix_over_all_tokens() -> None:
    layers = []
    for seed in range(2):
        q = torch.randn(1, 2, 4096, 8, generator=torch.Generator().manual_seed(seed))
        layers.append(Attended(q, q, attend(q, q, q, need_lse=True).lse))
    with Largest() as seen:
        rollout_row(layers)
    assert 0 < seen.bytes < 4096 * 4096 * 4 / 10


def test_a_rollout_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="there are no layers"):
        rollout_row([])


# Global-local cross-attention


def test_the_tokens_chosen_read_as_they_would_in_a_whole_block() -> None:
    model, x, scores = fresh(GlobalLocal(8, heads=2, share=0.25)), random(2, 13, 8), random(2, 13, seed=1)
    found, (whole, order) = model(x, scores), fresh(GlobalLocal(8, heads=2, share=1.0))(x, scores)
    assert found.tokens.shape == (2, 4, 8)
    assert torch.equal(found.chosen, scores[:, 1:].topk(3).indices + 1)
    assert torch.equal(order[:, :3], found.chosen)
    close(found.tokens, whole[:, :4])


def test_padding_is_neither_chosen_nor_read() -> None:
    model, x, scores = fresh(GlobalLocal(8, heads=2, share=0.25)), random(2, 13, 8), random(2, 13, seed=1)
    real = torch.arange(13) < torch.tensor([[13], [7]])
    scores[1, 7:] = 100
    padded = model(x, scores, real)
    assert (padded.chosen[1] < 7).all()
    other = x.clone()
    other[1, 7:] = random(6, 8, seed=2)
    close(model(other, scores, real).tokens, padded.tokens)


@pytest.mark.parametrize(("patches", "share", "count"), [(30, 0.1, 3), (31, 0.1, 4), (5, 0.1, 1), (10, 0.3, 3), (4, 1.0, 4)])
def test_a_share_of_patches_is_rounded_up(patches: int, share: float, count: int) -> None:
    assert top_patches(torch.zeros(1, 1 + patches), share).shape == (1, count)


def test_a_share_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"share is a part of the patches, in \(0, 1\]; got 0"):
        GlobalLocal(8, 2, share=0)


# Pair-wise cross-attention


def test_a_pair_is_one_softmax_over_the_keys_of_both() -> None:
    q, k, v = (random(2, 2, 5, 4, seed=seed) for seed in range(3))
    k2, v2 = (random(2, 2, 7, 4, seed=seed) for seed in (3, 4))
    own_mask, other_mask = random(2, 1, 5, 5, seed=5) > -1, random(2, 1, 5, 7, seed=6) > 0
    found = pairwise_attention(q, (k, v), (k2, v2), own_mask=own_mask, other_mask=other_mask)
    close(found.out, attend(q, torch.cat([k, k2], 2), torch.cat([v, v2], 2), torch.cat([own_mask, other_mask], -1)).out)


def test_an_empty_pair_is_self_attention() -> None:
    q, k, v = (random(2, 2, 5, 4, seed=seed) for seed in range(3))
    alone = attend(q, k, v).out
    close(pairwise_attention(q, (k, v), (k[:, :, :0], v[:, :, :0])).out, alone)
    close(pairwise_attention(q, (k, v), (2 * k, 3 * v), other_mask=torch.zeros(1, 1, 5, 5, dtype=torch.bool)).out, alone)


def test_gradients_reach_both_images() -> None:
    q, k, v, k2, v2 = (random(1, 1, 3, 2, seed=seed).requires_grad_() for seed in range(5))
    assert torch.autograd.gradcheck(lambda *x: pairwise_attention(x[0], (x[1], x[2]), (x[3], x[4])).out, (q, k, v, k2, v2))


# DCAL


def test_an_image_paired_with_itself_is_itself() -> None:
    """Every key twice halves every weight, in every layer."""
    trunk, x = fresh(Trunk(8, depth=3, heads=2)), random(3, 10, 8)
    close(trunk.paired(x, torch.arange(3)), trunk(x)[0])
    assert (trunk.paired(x, torch.tensor([1, 2, 0])) - trunk(x)[0]).abs().max() > 1e-3


def test_a_paired_layer_is_attention_over_the_tokens_of_both() -> None:
    trunk, x = fresh(Trunk(8, depth=1, heads=2)), random(3, 10, 8)
    partner, (block,) = torch.tensor([1, 2, 0]), trunk.blocks
    tokens = trunk.with_token(x)
    q, k, v = block.heads_of(tokens)
    both = attend(q, torch.cat([k, k[partner]], 2), torch.cat([v, v[partner]], 2)).out
    close(trunk.paired(x, partner), block.after(tokens, both))


def test_pairs_move_with_their_batch() -> None:
    model, x = fresh(DCAL(8, classes=3, heads=2)), random(4, 10, 8)
    partner, order = torch.tensor([1, 2, 3, 0]), torch.tensor([3, 1, 0, 2])
    place = order.argsort()
    moved, found = model(x[order], place[partner[order]]), model(x, partner)
    for one, other in zip(moved, found, strict=True):
        close(one, other[order])
    assert model(x).paired is None
    close(model(x).whole, found.whole)


def test_nobody_is_its_own_partner() -> None:
    for count in (2, 3, 8):
        partner = random_partners(count, torch.Generator().manual_seed(count))
        assert sorted(partner.tolist()) == list(range(count))
        assert (partner != torch.arange(count)).all()
    assert random_partners(1).tolist() == [0]


def test_learned_weights_of_losses_start_as_half_the_sum_and_settle_at_the_logarithm() -> None:
    weigh, losses = UncertaintyWeighted(3).double(), torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    close(weigh(losses), losses.sum() / 2)
    with torch.no_grad():
        weigh.log_variance.copy_(losses.log())
    weigh(losses).backward()
    close(weigh.log_variance.grad, torch.zeros(3, dtype=torch.float64))
    assert torch.autograd.gradcheck(weigh, losses.requires_grad_())
    with pytest.raises(ValueError, match=r"weighs 3 losses \[3\]; got \[2\]"):
        weigh(losses[:2])
