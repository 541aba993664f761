"""Which frame each query of a projector read: Fei et al., "Video-CCAM: Enhancing Video-Language Understanding with Causal Cross-Attention Masks for
Short and Long Videos", 2024.

A frame's share of a query's attention is its LSE among the LSE of all frames that the query sees: exact, from one kernel call a frame, without the
weights of queries over features.
"""
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from mm.analysis.levers.style import FONT, INK, PALE, figure
from mm.attention import AttentionPart, attend, masses
from mm.models import VLM
from mm.models.modes import evaluating
from mm.sample import Media
from mm.streams import CausalCrossAttention


@torch.no_grad()
def frames_read(projector: CausalCrossAttention, x: Tensor) -> Tensor:
    """Share of each frame in the attention of each query, the mean over heads: float32 [Q, T], rows sum to 1, 0 where a query does not see a frame.

    x: features of one clip, [T, N, C].
    """
    frames = len(x)
    q, k, v = projector.qkv(x[None])
    keys, values = (table.unflatten(2, (frames, -1)).unbind(2) for table in (k, v))
    parts = []
    for start, key, value in zip(projector.mask.first(projector.queries, frames).tolist(), keys, values, strict=True):
        lse = torch.full(q.shape[:3], -torch.inf, dtype=torch.promote_types(q.dtype, torch.float32), device=q.device)
        if start < projector.queries:
            seeing = attend(q[:, :, start:], key, value, need_lse=True)
            assert seeing.lse is not None
            lse[:, :, start:] = seeing.lse
        parts.append(AttentionPart(q, lse))  # masses ask for the LSE alone
    return masses(parts)[:, 0].mean(1).T.float()


@torch.no_grad()
def frames_read_of(vlm: VLM, media: Media) -> Tensor:
    """The same for a clip as the model sees it. ValueError for a projector without queries over frames."""
    projector = vlm.projector
    if not isinstance(projector, CausalCrossAttention):
        raise ValueError(f"{type(projector).__name__} has no queries that read frames; give a model with mm.streams.CausalCrossAttention")
    with evaluating(vlm):
        pixels = vlm.geometry.resize(media.frames, vlm.geometry.image_size).to(vlm.device)
        return frames_read(projector, vlm.keep(vlm.vision(pixels), vlm.vision.grid))


def draw_frames_read(share: Tensor, last: np.ndarray | None = None) -> Figure:
    """share: [Q, T] of `frames_read`, a row a query. last: the last frame that each query sees; what lies behind it is left pale."""
    queries, frames = share.shape
    drawn = figure(5.2, 4.2)
    axes = drawn.subplots()
    seen = np.ones((queries, frames), dtype=bool) if last is None else np.arange(frames) <= last[:, None]
    axes.set_facecolor(PALE)
    image = axes.imshow(np.ma.masked_where(~seen, share.cpu().numpy()), cmap="cividis", vmin=0, aspect="auto", interpolation="nearest",
                        extent=(-0.5, frames - 0.5, queries - 0.5, -0.5))
    axes.set_xlabel("frame", fontsize=FONT, color=INK)
    axes.set_ylabel("query", fontsize=FONT, color=INK)
    axes.set_title("which frame each query read", fontsize=FONT, fontweight="bold", color=INK)
    axes.tick_params(labelsize=FONT - 1, length=0, colors=INK)
    axes.set_xticks(range(0, frames, -(-frames // 12)))
    for side in axes.spines.values():
        side.set_visible(False)
    bar = drawn.colorbar(image, ax=axes, shrink=0.9)
    bar.ax.tick_params(labelsize=FONT - 1, length=0)
    bar.set_label("share of the query's attention", fontsize=FONT - 1)
    bar.outline.set_visible(False)
    return drawn
