"""Where rules moved attention: a picture, what an answer's first token sees of it before them and after, and the difference."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from torch import Tensor

from mm.analysis.levers.style import FONT, bare, figure
from mm.analysis.masses import masses
from mm.analysis.picture import seen
from mm.models import VLM
from mm.sample import Sample
from mm.tokens import TokenMap

HEAT, CHANGE = "magma", "PuOr_r"


@dataclass(frozen=True)
class Places:
    """Every token of an image is a group of its own, all else is group 0: masses are then weights."""

    tokens: int
    needs: frozenset[Literal["hidden", "columns"]] = frozenset()
    decoded_group: int = 0

    @property
    def group_count(self) -> int:
        return self.tokens + 1

    def watched_groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        return torch.where(tokens.is_vision, tokens.shown, 0)


def moved(vlm: VLM, sample: Sample, layers: Sequence[int] | None = None) -> Figure:
    """The mean over heads and `layers` (all if None), without and with the model's own rules, for a sample with one image. ValueError for another, or
    where tokens have no place in the picture.
    """
    grid = vlm.geometry.grid
    if grid is None or vlm.geometry.tokens != grid[0] * grid[1] or len(sample.media) != 1 or len(sample.media[0].frames) != 1:
        raise ValueError(f"sample {sample.id!r} has {len(sample.media)} media, the tokens' grid is {grid} and an image has {vlm.geometry.tokens}; "
                         "give one image, and a projector that keeps the grid and adds no newline or end tokens to it")
    (table,) = masses(vlm, [sample], Places(grid[0] * grid[1]))
    chosen = table if layers is None else table[:, list(layers)]
    before, after = chosen[..., 0, 1:].mean((1, 2)).view(2, *grid).numpy()
    return before_and_after(seen(vlm, sample.media[0].frames[0]), before, after)


def before_and_after(picture: np.ndarray, before: np.ndarray, after: np.ndarray) -> Figure:
    """picture: uint8 [H, W, 3]. before, after: weights [rows, cols] on a grid that covers it."""
    drawn = figure(11, 3.3)
    axes = drawn.subplots(1, 4)
    axes[0].imshow(picture, interpolation="nearest")
    bare(axes[0], "the picture", "as the model sees it")
    most, change = float(max(before.max(), after.max())), after - before
    bound = float(np.abs(change).max()) or 1.0
    heats = Normalize(0, most)
    for one, heat, title in ((axes[1], before, "before"), (axes[2], after, "after")):
        one.imshow(heat, cmap=HEAT, norm=heats, interpolation="nearest")
        bare(one, title, f"{heat.sum():.1%} of the row is on the picture")
    axes[3].imshow(change, cmap=CHANGE, norm=TwoSlopeNorm(0, -bound, bound), interpolation="nearest")
    bare(axes[3], "what moved", f"−{-change.clip(max=0).sum():.1%} in purple, +{change.clip(min=0).sum():.1%} in orange")
    for where, colours, label in ((axes[1:3], ScalarMappable(heats, HEAT), "weight of a place"),
                                  (axes[3:], ScalarMappable(TwoSlopeNorm(0, -bound, bound), CHANGE), "loses (−), gains (+)")):
        bar = drawn.colorbar(colours, ax=list(where), location="bottom", shrink=0.7 if len(where) > 1 else 0.9, aspect=30, pad=0.03)
        bar.ax.xaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
        bar.ax.tick_params(labelsize=FONT - 2, length=2)
        bar.set_label(label, fontsize=FONT - 1)
        bar.outline.set_visible(False)
    return drawn
