"""Bi-level routing: all windows are dense attention, a few are a block-sparse mask, and what hangs over a window is not there."""
import pytest
import torch

from mm.attention import attend
from mm.vision.attention import BilevelRouting, Windows
from tests.allocation import Largest
from tests.double import close, fresh, random


@pytest.mark.parametrize(("grid", "size"), [((4, 6), (2, 3)), ((5, 7), (2, 3)), ((3, 3), (4, 1)), ((1, 6), (1, 4))])
def test_windows_join_what_they_cut(grid: tuple[int, int], size: tuple[int, int]) -> None:
    windows, x = Windows(grid, size), random(2, grid[0] * grid[1], 3)
    cut = windows.cut(x)
    assert cut.shape == (2, windows.count, size[0] * size[1], 3)
    assert torch.equal(windows.join(cut), x)
    real, filled = windows.real(), cut[0].abs().sum(-1) > 0
    assert filled.sum() == grid[0] * grid[1]
    assert filled.all() if real is None else torch.equal(real, filled)


@pytest.mark.parametrize("grid", [(6, 6), (4, 6), (5, 7), (2, 3)])
def test_routing_to_all_windows_is_dense_attention(grid: tuple[int, int]) -> None:
    """Through the routed path, which the module itself spares here, and with the module."""
    model, x = fresh(BilevelRouting(8, heads=2, windows=3, topk=9, local_kernel=0)), random(2, grid[0] * grid[1], 8)
    q, k, v = model.qkv(x).chunk(3, -1)
    heads = [part.unflatten(-1, (2, -1)).transpose(1, 2) for part in (q, k, v)]
    dense = attend(*heads, scale=8 ** -0.5).out.transpose(1, 2).flatten(2)
    close(model.routed(q, k, v, Windows.of(grid, 3)), dense)
    close(model(x, grid), model.out(dense))


@pytest.mark.parametrize("grid", [(6, 6), (5, 7)])
def test_routing_is_dense_attention_under_a_block_sparse_mask(grid: tuple[int, int]) -> None:
    model, x = fresh(BilevelRouting(8, heads=2, windows=3, topk=2, local_kernel=0)), random(2, grid[0] * grid[1], 8)
    q, k, v = model.qkv(x).chunk(3, -1)
    windows = Windows.of(grid, 3)
    route = model.route(q, k, windows).windows
    home = windows.join(torch.arange(windows.count, dtype=torch.float64)[:, None, None].expand(-1, windows.size[0] * windows.size[1], 1)).squeeze(-1)
    seen = (route[:, home.long()][:, :, None] == home.long()[None, None, :, None]).any(-1)  # [B, N, N]
    heads = [part.unflatten(-1, (2, -1)).transpose(1, 2) for part in (q, k, v)]
    dense = attend(*heads, seen[:, None], scale=8 ** -0.5).out.transpose(1, 2).flatten(2)
    close(model.routed(q, k, v, windows), dense)


def test_what_hangs_over_is_left_out_of_averaged_keys() -> None:
    """Of equal features all windows' keys are equal too, also where half of a window is padding."""
    model = fresh(BilevelRouting(8, heads=2, windows=2, topk=4, keys_per_window=2, local_kernel=0))
    x = random(1, 1, 8).expand(1, 15, 8)
    close(model(x, (5, 3)), model.out(model.qkv(x).chunk(3, -1)[2]))


def test_windows_that_hang_over_have_the_means_of_what_is_there() -> None:
    """Of equal features no window is better than another."""
    model = fresh(BilevelRouting(8, heads=2, windows=3, topk=9))
    q, k, _ = model.qkv(random(1, 1, 8).expand(1, 35, 8)).chunk(3, -1)
    close(model.route(q, k, Windows.of((5, 7), 3)).weight, torch.full((1, 9, 9), 1 / 9, dtype=torch.float64))


def test_a_detached_choice_has_no_gradient_and_a_soft_one_has() -> None:
    """With one window to read, soft weights are 1; with two, they depend on window means, and so on the features of windows that are far away."""
    x = random(1, 16, 8)
    plain, soft = (fresh(BilevelRouting(8, heads=2, windows=4, topk=2, local_kernel=0, routing=routing)) for routing in ("detached", "soft"))
    reached = []
    for model in (plain, soft):
        q, k, _ = (part.requires_grad_() for part in model.qkv(x).detach().chunk(3, -1))
        weight = model.route(q, k, Windows.of((4, 4), 4)).weight
        reached.append(weight.requires_grad)
    assert reached == [False, True]
    assert (plain(x, (4, 4)) - soft(x, (4, 4))).abs().max() > 1e-3


def test_routing_never_makes_a_matrix_over_all_features() -> None:
    grid, width = (48, 48), 16
    model, x = BilevelRouting(width, heads=4, windows=8, topk=1), torch.randn(1, 48 * 48, width, requires_grad=True)
    with Largest() as seen:
        model(x, grid).sum().backward()
    assert 0 < seen.bytes < (48 * 48) ** 2 * 4 / 4


def test_routing_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"got \(1, 24, 8\) for a grid of \(5, 5\)"):
        BilevelRouting(8, 2)(random(1, 24, 8), (5, 5))
    with pytest.raises(ValueError, match="local_kernel is odd"):
        BilevelRouting(8, 2, local_kernel=4)
    with pytest.raises(ValueError, match="heads divides width"):
        BilevelRouting(8, 3)
