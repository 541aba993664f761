"""Which frame each query read, in one clip, beside the clip: arms with queries, the same question."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from data.world import Clips
from eval.laboratory.arms import Arm
from eval.laboratory.training import run_dir
from mm.analysis.frames import frames_read_of
from mm.analysis.levers.style import FONT, INK, PALE, figure
from mm.models import VLM
from mm.streams import CausalCrossAttention


def queries_reading(out: Path, arms: Sequence[Arm], seed: int, frames: int, index: int = 0) -> Figure | None:
    """Test clip `index`, of `frames` frames, and a matrix queries x frames for each arm that has queries; None where none has."""
    clips = Clips("test", index + 1, frames=frames)
    sample, clip = clips[index], clips.clip(index)
    models = [(arm, VLM.load(run_dir(out, arm.name, seed))) for arm in arms]
    models = [(arm, vlm) for arm, vlm in models if isinstance(vlm.projector, CausalCrossAttention)]
    if not models:
        return None
    drawn = figure(3.1 * len(models), 5.6)
    above, below = drawn.subfigures(2, 1, height_ratios=[1, 2.4], squeeze=False)[:, 0]
    for time, (axes, picture) in enumerate(zip(above.subplots(1, frames), sample.media[0].frames, strict=True)):
        axes.imshow(picture)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(str(time), fontsize=FONT - 1, color=INK)
    above.suptitle(f"{clip.question}  {clip.answer}", fontsize=FONT, fontweight="bold", color=INK)
    drawn_on = np.atleast_1d(below.subplots(1, len(models)))
    for axes, (arm, vlm) in zip(drawn_on, models, strict=True):
        projector = vlm.projector
        assert isinstance(projector, CausalCrossAttention)
        share, last = frames_read_of(vlm, sample.media[0]).numpy(), projector.mask.last(projector.queries, frames)
        hidden = np.arange(frames) > last[:, None]
        axes.set_facecolor(PALE)
        image = axes.imshow(np.ma.masked_where(hidden, share), cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_title(f"{arm.label}\nanswers: {vlm.generate([sample], max_new_tokens=4)[0]}", fontsize=FONT - 1, color=INK)
        axes.set_xlabel("frame", fontsize=FONT - 1, color=INK)
        axes.set_ylabel("query", fontsize=FONT - 1, color=INK)
        axes.tick_params(labelsize=FONT - 2, length=0, colors=INK)
    bar = below.colorbar(image, ax=list(drawn_on), shrink=0.8)
    bar.ax.tick_params(labelsize=FONT - 2, length=0)
    bar.set_label("share of the query's attention", fontsize=FONT - 2)
    return drawn
