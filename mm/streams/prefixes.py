"""Attention of queries that each see the frames up to one of theirs, frame by frame: Liu et al., "Ring Attention with Blockwise Transformers for
Near-Infinite Context", ICLR 2024 (parts of the keys that come one after another).

A frame is a group of keys that a query sees whole or not at all. So each frame is attended to without any mask, by those queries that see it, and its
(O, LSE) is merged into what they have of the frames before: exact, with Q x D numbers for each frame and never Q x T N. A frame that a query does not
see never enters its sum. Small frames are joined, as merging would take longer than attending; a mask then parts them, for that many keys alone.
`python -m bench.ccam` compares this with a dense mask and with other exact forms.
"""
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from mm.attention import AttentionPart, attend, merge

JOINED = 512  # keys up to which frames are joined


def prefix_attention(q: Tensor, k: Tensor, v: Tensor, first: Sequence[int], dropout: float = 0.0, joined: int = JOINED) -> Tensor:
    """Output [B, H, Q, Dv] of queries [B, H, Q, D] over the keys [B, Hk, T N, D] and values [B, Hk, T N, Dv] of T frames.

    first: for each frame the first query that sees it, ascending from 0; all later queries see it too. It is Q where none does.
    joined: keys up to which frames with different queries are attended to at once.
    dropout: share of the weights that is dropped. A part's dropped weights have no LSE to merge by, so there each group of queries that see the same
    frames attends to all of these at once: also without a mask, but keys and values are read once a group.
    """
    queries, size = q.shape[2], k.shape[2] // len(first)
    runs = [(start, size * len(list(run))) for start, run in groupby(first) if start < queries]  # frames that the same queries see
    if len(runs) == 1:
        return attend(q, k[:, :, :runs[0][1]], v[:, :, :runs[0][1]], dropout=dropout).out
    if dropout:
        return grouped(q, k, v, runs, dropout)
    pieces = list(pieces_of(runs, joined))
    lengths = [sum(length for _, length in piece) for piece in pieces]
    unseen = [] if sum(lengths) == k.shape[2] else [k.shape[2] - sum(lengths)]
    finished: list[Tensor] = []
    begun, now = 0, None
    for piece, key, value in zip(pieces, k.split([*lengths, *unseen], 2), v.split([*lengths, *unseen], 2), strict=False):
        start = piece[0][0]
        part = attend(q[:, :, start:], key, value, between(piece, queries, q.device), need_lse=True)
        if now is None:
            now = precise(part)
            continue
        assert now.lse is not None
        finished.append(now.out[:, :, :start - begun])  # these see no later frame
        begun, now = start, merge([AttentionPart(now.out[:, :, start - begun:], now.lse[:, :, start - begun:]), part])
    assert now is not None
    return torch.cat([*finished, now.out], 2).to(q.dtype)


def pieces_of(runs: Sequence[tuple[int, int]], joined: int) -> Iterator[list[tuple[int, int]]]:
    """The runs, (first query that sees them, keys), in lists of up to `joined` keys, or of one run that has more."""
    piece: list[tuple[int, int]] = []
    for run in runs:
        if piece and sum(length for _, length in piece) + run[1] > joined:
            yield piece
            piece = []
        piece.append(run)
    yield piece


def between(piece: Sequence[tuple[int, int]], queries: int, device: torch.device) -> Tensor | None:
    """Which keys of a piece its queries see, bool [q, keys]; None for all of them."""
    if len(piece) == 1:
        return None
    starts, lengths = torch.tensor(piece, device=device).T
    return torch.arange(piece[0][0], queries, device=device)[:, None] >= starts.repeat_interleave(lengths)


def grouped(q: Tensor, k: Tensor, v: Tensor, runs: Sequence[tuple[int, int]], dropout: float) -> Tensor:
    """The same by groups of queries that see the same frames."""
    starts = [start for start, _ in runs]
    outs, end = [], 0
    for (start, length), stop in zip(runs, [*starts[1:], q.shape[2]], strict=True):
        end += length
        outs.append(attend(q[:, :, start:stop], k[:, :, :end], v[:, :, :end], dropout=dropout).out)
    return torch.cat(outs, 2)


def precise(part: AttentionPart) -> AttentionPart:
    """With its output in the precision of its LSE, so that many merges do not round it again and again."""
    assert part.lse is not None
    return AttentionPart(part.out.to(part.lse.dtype), part.lse)
