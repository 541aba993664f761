"""The Perceiver resampler: Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022, as OpenFlamingo builds it."""
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mm.streams.attention import CrossAttention
from mm.streams.base import ClipProjector, Grid
from mm.streams.frame_mask import Full, LastSeen
from mm.streams.lengths import by_length


class PerceiverBlock(nn.Module):
    """l += Attn(LN l, [LN x, LN l]); l += FF(LN l). No biases but those of the norms."""

    def __init__(self, width: int, heads: int, head_width: int, expansion: int) -> None:
        super().__init__()
        self.norm_source, self.norm_latents, self.norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CrossAttention(width, width, heads, head_width=head_width)
        self.up, self.down = nn.Linear(width, expansion * width, bias=False), nn.Linear(expansion * width, width, bias=False)

    def forward(self, latents: Tensor, x: Tensor) -> Tensor:
        """latents [M, n, width], x [M, K, width] → [M, n, width]."""
        own = self.norm_latents(latents)
        latents = latents + self.attention(own, torch.cat([self.norm_source(x), own], 1))
        return latents + self.down(nn.functional.gelu(self.up(self.norm(latents))))


class Resampler(ClipProjector):
    """`latents` learned queries read the features of all frames of a medium, `depth` times; then a norm and one linear map to the decoder's width.

    That map is our choice: in Flamingo the latents, as wide as the features, go into the decoder's cross-attentions.

    Args:
        max_frames: rows of a learned table added by frame, None for no table: then frames are told apart by nothing.
        max_media: rows of a learned table added by a medium's place among its sample's media. `project` is not told that place, so with this table
            call `forward` with `media`; a `VLM` refuses it.
        expansion: inner width of the FFN over its own.
    """

    def __init__(self, in_width: int, out_width: int, latents: int = 64, depth: int = 6, heads: int = 8, head_width: int = 64, expansion: int = 4,
                 max_frames: int | None = None, max_media: int | None = None) -> None:
        super().__init__(in_width, out_width)
        if latents < 1:
            raise ValueError(f"Resampler: latents counts tokens a medium, so it is at least 1; got {latents}")
        self.latents, self.depth, self.heads, self.head_width, self.expansion = latents, depth, heads, head_width, expansion
        self.max_frames, self.max_media = max_frames, max_media
        self.queries = nn.Parameter(torch.randn(latents, in_width))
        self.frame_embedding = None if max_frames is None else nn.Parameter(torch.randn(max_frames, in_width))
        self.media_embedding = None if max_media is None else nn.Parameter(torch.randn(max_media, in_width))
        self.blocks = nn.ModuleList(PerceiverBlock(in_width, heads, head_width, expansion) for _ in range(depth))
        self.norm = nn.LayerNorm(in_width)
        self.out = nn.Linear(in_width, out_width)

    def out_grid(self, grid: Grid) -> None:
        return None

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        check_frames(frames, self.max_frames)
        return self.latents

    def places(self, grid: Grid) -> "WithinTable":
        return WithinTable(self.latents, self.max_frames)

    def forward(self, x: Tensor, grid: Grid, frames: Sequence[int], media: Sequence[int] | None = None) -> Tensor:
        """media: the place of each medium among those of its sample, from 0, where there is a table for it."""
        return self.out(self.resampled(x, frames, media))

    def resampled(self, x: Tensor, frames: Sequence[int], media: Sequence[int] | None = None) -> Tensor:
        """Flamingo's own output, [M, latents, in_width]: features [F, N, C] of M media of `frames` frames each."""
        if self.media_embedding is not None:
            if media is None or len(media) != len(frames):
                raise ValueError(f"Resampler has embeddings for {self.max_media} media, so it must be told the place of each of these {len(frames)} "
                                 f"among its sample's; got media={media}. A VLM does not tell: leave max_media out there")
            if not 0 <= min(media) <= max(media) < self.media_embedding.shape[0]:
                raise ValueError(f"Resampler has embeddings for {self.max_media} media of a sample, places 0 to {len(self.media_embedding) - 1}; got "
                                 f"{list(media)}. Give fewer media, or train with a larger max_media")
        return by_length(x, frames, lambda clips, which: self.read(clips, None if media is None else [media[medium] for medium in which]))

    def read(self, clips: Tensor, media: Sequence[int] | None) -> Tensor:
        """[m, T, N, C] → [m, latents, C]."""
        check_frames(clips.shape[1], self.max_frames)
        if self.frame_embedding is not None:
            clips = clips + self.frame_embedding[:clips.shape[1], None]
        if self.media_embedding is not None and media is not None:
            clips = clips + self.media_embedding[list(media), None, None]
        x, latents = clips.flatten(1, 2), self.queries.expand(len(clips), -1, -1)
        for block in self.blocks:
            latents = block(latents, x)
        return self.norm(latents)


class WithinTable(LastSeen):
    """Each latent sees all frames. ValueError for more of them than there are embeddings for."""

    def __init__(self, latents: int, max_frames: int | None) -> None:
        super().__init__(Full(), latents)
        self.max_frames = max_frames

    def __call__(self, frames: int) -> np.ndarray:
        check_frames(frames, self.max_frames)
        return super().__call__(frames)


def check_frames(frames: int, most: int | None) -> None:
    if most is not None and frames > most:
        raise ValueError(f"Resampler has embeddings for {most} frames of a medium; this one has {frames}. Sample fewer, or train with a larger "
                         "max_frames")
