"""The adaptive mask: its traps, its bounds, its errors."""
import pytest
import torch
from torch import Tensor

from mm.diffusion.custom import AdaptiveMask, Spread


def blob(height: int, width: int, row: float, col: float) -> Tensor:
    """[1, h, w], a bump at a place that is given in shares of the sides."""
    y, x = (torch.arange(side) + 0.5 for side in (height, width))
    return torch.exp(-((y[:, None] / height - row) ** 2 + (x[None] / width - col) ** 2) / 0.02)[None]


def middle(mask: Tensor) -> tuple[float, float]:
    """Centre of mass, in shares of the sides."""
    rows, cols = mask[0].sum(1), mask[0].sum(0)
    return tuple(float((side * (torch.arange(len(side)) + 0.5)).sum() / side.sum() / len(side)) for side in (rows, cols))  # type: ignore[return-value]


@pytest.mark.parametrize("size", [(16, 32), (32, 16), (12, 20)], ids=str)
def test_trap_pictures_that_are_not_square_keep_both_proportions(size: tuple[int, int]) -> None:
    """The release scales the mask by the ratio of the heights alone."""
    maps = [blob(size[0] // 2, size[1] // 2, 0.25, 0.75), blob(size[0] // 4, size[1] // 4, 0.25, 0.75)]
    mask = AdaptiveMask(scope=0.1)(maps, size)
    assert mask.shape == (1, *size)
    assert middle(mask) == pytest.approx((0.25, 0.75), abs=0.07)


def test_trap_two_scales_at_once_are_refused() -> None:
    """In the release "max_norm" wins over whatever else was asked for."""
    with pytest.raises(ValueError, match="expected one of none, max_norm"):
        AdaptiveMask.released(["min_max_per_channel", "max_norm"], 0.25)


@pytest.mark.parametrize("scope", [0.1, 0.25, 1.0])
def test_as_many_pixels_are_kept_as_the_scope_says(scope: float) -> None:
    maps = [torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))]
    mask = AdaptiveMask(scope, "max_norm", values="binary")(maps, (8, 8))
    assert mask.sum((1, 2)).tolist() == [int(64 * scope)] * 3
    assert torch.equal(AdaptiveMask(scope, "max_norm")(maps, (8, 8)) > 0, mask > 0)


def test_pictures_of_a_batch_do_not_know_each_other() -> None:
    maps = [torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))]
    spread = Spread("max_norm")
    self_maps = [torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(1))]
    mask = AdaptiveMask(spread=spread)
    together = mask(maps, (16, 16), self_maps)
    for row in range(2):
        alone = mask([maps[0][row:row + 1]], (16, 16), [self_maps[0][row:row + 1]])
        torch.testing.assert_close(together[row:row + 1], alone, rtol=0, atol=1e-5)


def test_attention_among_pixels_is_resized_as_pictures() -> None:
    """A pixel that looks at one place looks there at any size; flattened, it looks beside it."""
    looks = blob(4, 8, 0.75, 0.25).flatten()
    self_map = (looks / looks.sum()).expand(1, 32, 32)
    average = torch.zeros(1, 8, 16)
    average[0, 5:7, 3:5] = 1
    elsewhere = torch.zeros(1, 8, 16)
    elsewhere[0, 1:3, 11:13] = 1
    grid, flattened = Spread("none"), Spread("none", "flattened")
    assert float(grid(average, [self_map]).mean()) > 20 * float(grid(elsewhere, [self_map]).mean())
    assert not torch.allclose(grid(average, [self_map]), flattened(average, [self_map]), rtol=0.05)


def test_what_does_not_fit_is_said() -> None:
    maps = [torch.rand(1, 4, 4)]
    with pytest.raises(ValueError, match="scope 0 is no share"):
        AdaptiveMask(0)
    with pytest.raises(ValueError, match="less than one; raise the scope"):
        AdaptiveMask(0.01)(maps, (4, 4))
    with pytest.raises(ValueError, match="found no attention map"):
        AdaptiveMask()([], (4, 4))
    with pytest.raises(ValueError, match="give both or neither"):
        AdaptiveMask(spread=Spread())(maps, (4, 4))
    with pytest.raises(ValueError, match="expected a grid in the proportions of 4 × 8"):
        Spread()(torch.rand(1, 4, 8), [torch.rand(1, 16, 16)])
