"""Frame masks as matrices: a row for each learned query, a column for each frame, under Video-CCAM's two roundings and without a mask."""
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mm.analysis.levers.style import BLUE, FONT, INK, PALE, bare, figure
from mm.streams import CausalCeil, CausalFloor, FrameMask, Full

MASKS = (CausalCeil(), CausalFloor(), Full())
COUNTS = ((16, 4), (16, 6), (4, 8))  # frames that divide the queries, that do not, and more frames than queries


def frame_masks(masks: Sequence[FrameMask] = MASKS, counts: Sequence[tuple[int, int]] = COUNTS) -> Figure:
    """A column a mask, a row each pair (queries, frames)."""
    drawn = figure(2.5 * len(masks), 7.6)
    axes = drawn.subplots(len(counts), len(masks), squeeze=False, height_ratios=[max(queries, 6) for queries, _ in counts])
    for row, (queries, frames) in zip(axes, counts, strict=True):
        for one, mask in zip(row, masks, strict=True):
            seen = np.arange(frames) <= mask.last(queries, frames)[:, None]
            one.imshow(seen, cmap=ListedColormap([PALE, BLUE]), vmin=0, vmax=1, aspect="auto", interpolation="nearest",
                       extent=(0, frames, queries, 0))
            for line in range(1, queries):
                one.axhline(line, color="white", linewidth=0.6)
            for line in range(1, frames):
                one.axvline(line, color="white", linewidth=0.6)
            hidden = int((~seen.any(0)).sum())
            note = f", {hidden} frame{'s' if hidden > 1 else ''} seen by none" if hidden else ""
            bare(one, type(mask).__name__, f"{queries} queries, {frames} frames{note}")
            one.set_xlabel("frame →", fontsize=FONT - 2, color=INK)
            one.set_ylabel("← query", fontsize=FONT - 2, color=INK)
    drawn.legend(handles=[Patch(color=BLUE, label="sees all features of the frame"), Patch(color=PALE, label="sees none of them")],
                 loc="outside lower center", ncols=2, frameon=False, fontsize=FONT)
    return drawn
