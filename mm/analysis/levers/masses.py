"""Masses as bars: how a row's attention is shared out in each layer, before rules and after them."""
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from mm.analysis.levers.style import FONT, GREEN, GREY, INK, ORANGE, PALE, SKY, VERMILION, figure

COLOURS = (PALE, ORANGE, VERMILION, GREEN, SKY, GREY)


def mass_bars(table: Tensor, names: Sequence[str], titles: Sequence[str] = ("before", "after")) -> Figure:
    """table: masses [2, layers, ..., groups], as `mm.analysis.masses` and `Masses.table` give them; the mean over what lies between is drawn.
    names: of the groups, as in `VAR.group_names`."""
    mean = table.flatten(2, -2).mean(2).numpy()
    drawn = figure(8.2, 3.3)
    panels = drawn.subplots(1, 2, sharey=True)
    layers = np.arange(mean.shape[1])
    for axes, masses, title in zip(panels, mean, titles, strict=True):
        below = np.zeros(len(layers))
        for mass, name, colour in zip(masses.T, names, COLOURS, strict=False):
            axes.bar(layers, mass, 0.82, below, color=colour, label=name, edgecolor="white", linewidth=0.6)
            for layer, (size, bottom) in enumerate(zip(mass, below, strict=True)):
                if size >= 0.06 and len(layers) <= 8:
                    axes.text(layer, bottom + size / 2, f"{size:.0%}", ha="center", va="center", fontsize=FONT - 2, color=INK)
            below += mass
        axes.set_title(title, fontsize=FONT, fontweight="bold", color=INK)
        axes.set_xlabel("layer", fontsize=FONT, color=INK)
        axes.set_xticks(layers if len(layers) <= 16 else layers[::4])
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.tick_params(labelsize=FONT - 1, length=0, colors=INK)
        for side in axes.spines.values():
            side.set_visible(False)
    panels[0].set_ylabel("share of the row's attention", fontsize=FONT, color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles[::-1], labels[::-1], loc="outside right center", frameon=False, fontsize=FONT)
    return drawn
