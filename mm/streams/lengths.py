"""Media of different lengths in one batch: those of equal length are read together, so there is no padding that could leak or cost."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def by_length(x: Tensor, frames: Sequence[int], read: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
    """Features [F, N, C] of M media of `frames` frames each → what `read` makes of them, [M, P, D], in the order of the media.

    read: (clips [m, T, N, C] of one length, which of the media they are) → [m, P, D]. ValueError where `frames` do not add up to F.
    """
    if sum(frames) != len(x) or min(frames, default=1) < 1:
        raise ValueError(f"{len(x)} frames of features came, and the media have {list(frames)}, {sum(frames)} in all; each medium has one or more")
    if len(set(frames)) == 1:
        return read(x.unflatten(0, (len(frames), frames[0])), list(range(len(frames))))
    clips = x.split(list(frames))
    order: list[int] = []
    read_clips: list[Tensor] = []
    for length in sorted(set(frames)):
        which = [medium for medium, count in enumerate(frames) if count == length]
        order += which
        read_clips.append(read(torch.stack([clips[medium] for medium in which]), which))
    return torch.cat(read_clips)[torch.tensor(order, device=x.device).argsort()]
