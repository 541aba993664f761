"""Positions as maps: where the tokens of an image stand, of a large square one and of a small odd one, whose numbers can be read."""
from collections.abc import Sequence

import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mm.analysis.levers.style import FONT, INK, bare, figure
from mm.positions import Concentric, Positions, Restart, ReverseRaster, SinglePosition
from mm.tokens import Kind, Role, TokenMap

RAMP = "cividis"
RULES = (Restart(), ReverseRaster(), Concentric(), SinglePosition())
TITLES = {"Restart": "Sequential, Restart", "SinglePosition": "SinglePosition"}


def position_maps(rules: Sequence[Positions] = RULES, grids: Sequence[tuple[int, int]] = ((24, 24), (5, 7))) -> Figure:
    """A column a rule, a row a grid; positions are counted from where the image begins."""
    drawn = figure(2.75 * len(rules), 5.7)
    axes = drawn.subplots(len(grids), len(rules), squeeze=False, height_ratios=[height / width for height, width in grids])
    for row, (height, width) in zip(axes, grids, strict=True):
        for one, rule in zip(row, rules, strict=True):
            places = rule.assign(image(height, width))[0].view(height, width)
            last = int(places.max())
            one.imshow(places, cmap=RAMP, norm=Normalize(0, last) if last else Normalize(-1, 0), interpolation="nearest")
            name = TITLES.get(type(rule).__name__, type(rule).__name__)
            bare(one, name, f"{height} × {width} tokens at {'position 0' if last == 0 else f'positions 0 to {last}'}")
            if height * width <= 64:
                for (r, c), value in zip(((r, c) for r in range(height) for c in range(width)), places.flatten().tolist(), strict=True):
                    one.text(c, r, str(value), ha="center", va="center", fontsize=FONT - 1, color="white" if value < 0.55 * last else INK)
    bar = drawn.colorbar(ScalarMappable(Normalize(0, 1), RAMP), ax=axes, location="bottom", aspect=60, shrink=0.6, pad=0.04, ticks=[0, 1])
    bar.ax.set_xticklabels(["first, far from the question", "last, next to the question"], fontsize=FONT - 1)
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    return drawn


def image(height: int, width: int) -> TokenMap:
    """One image and nothing else."""
    order = torch.arange(height * width)[None]
    none = torch.zeros_like(order)
    return TokenMap(kind=none + int(Kind.VISION), document=none, branch=none, media=none, frame=none, row=order // width, col=order % width,
                    role=none + int(Role.QUESTION), turn=none, position=order, index=order)
