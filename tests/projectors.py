"""Every projector at toy size, by name. What lands in `mm.streams` is added here, and the laws of tests/law/test_projectors.py hold it."""
from collections.abc import Callable
from functools import partial

from torch import nn

from mm.streams import MLP, CAbstractor, EfficientProbing, Linear, PixelShuffle, PixelShuffleMLP, Pool2d, Projector, TokenPacker
from tests.query_projectors import FACTORIES


class TwoLayers(Linear):
    """A linear map of the last layer of an encoder and the one before, side by side."""

    levels = (-2,)

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__(in_width, out_width)
        self.map = nn.Linear(2 * in_width, out_width)


# From (in_width, out_width), for features on a grid of 4 x 4 and an encoder of two layers.
PROJECTORS: dict[str, Callable[[int, int], Projector]] = {
    "linear": Linear,
    "mlp": MLP,
    "pixel shuffle": PixelShuffle,
    "pixel shuffle, mlp": PixelShuffleMLP,
    **{f"pool, {kind}": partial(Pool2d, stride=2, kind=kind) for kind in ("average", "max", "bilinear", "area")},
    **{f"pool, newline a {newline}": partial(Pool2d, stride=2, newline=newline) for newline in ("row", "frame", "medium")},
    "c-abstractor": partial(CAbstractor, tokens=4, hidden=8, depth=1),
    "c-abstractor, pooling": partial(CAbstractor, tokens=9, depth=0, mlp_depth=1),
    "c-abstractor, whole": partial(CAbstractor, tokens=4, hidden=8, depth=2, grid=(4, 4), norm=True, ends=2),
    "token packer": partial(TokenPacker, factor=2, levels=(-2, -1), heads=2),
    "efficient probing": partial(EfficientProbing, queries=3),
    **FACTORIES,
}
# Grids that they refuse, of those that the laws try.
REFUSED = {"pixel shuffle": {(5, 7)}, "pixel shuffle, mlp": {(5, 7)}, "token packer": {(5, 7)}, "c-abstractor, whole": {(4, 6), (6, 4), (5, 7)}}
# Those that cannot take features without a place in the picture.
NEED_A_GRID = {"pixel shuffle", "pixel shuffle, mlp", "pool, average", "pool, max", "c-abstractor, whole", "token packer"}
