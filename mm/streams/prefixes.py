"""Attention of queries that each see the frames up to one of theirs, frame by frame: Liu et al., "Ring Attention with Blockwise Transformers for
Near-Infinite Context", ICLR 2024 (parts of the keys that come one after another).

A frame is a group of keys that a query sees whole or not at all. So each frame is attended to without any mask, by those queries that see it, and its
(O, LSE) is merged into what they have of the frames before: exact, with Q x D numbers for each frame and never Q x T N. A frame that a query does not
see never enters its sum. `python -m bench.ccam` compares this with a dense mask and with other exact forms.
"""
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from mm.attention import AttentionPart, attend, merge


def prefix_attention(q: Tensor, k: Tensor, v: Tensor, first: Sequence[int], dropout: float = 0.0) -> Tensor:
    """Output [B, H, Q, Dv] of queries [B, H, Q, D] over the keys [B, Hk, T N, D] and values [B, Hk, T N, Dv] of T frames.

    first: for each frame the first query that sees it, ascending from 0; all later queries see it too. It is Q where none does.
    dropout: share of the weights that is dropped. A part's dropped weights have no LSE to merge by, so there each group of queries that see the same
    frames attends to all of these at once: also without a mask, but keys and values are read once a group.
    """
    queries, size = q.shape[2], k.shape[2] // len(first)
    runs = [(start, size * len(list(run))) for start, run in groupby(first)]  # frames that the same queries see are one group of keys
    runs, unseen = [run for run in runs if run[0] < queries], sum(length for start, length in runs if start >= queries)
    keys, values = (x[:, :, :x.shape[2] - unseen].split([length for _, length in runs], 2) for x in (k, v))
    if len(runs) == 1:
        return attend(q, keys[0], values[0], dropout=dropout).out
    starts = [start for start, _ in runs]
    if dropout:
        groups = zip(starts, [*starts[1:], queries], strict=True)
        return torch.cat([attend(q[:, :, start:stop], torch.cat(keys[:run + 1], 2), torch.cat(values[:run + 1], 2), dropout=dropout).out
                          for run, (start, stop) in enumerate(groups)], 2)
    finished: list[Tensor] = []
    begun, now = 0, precise(attend(q, keys[0], values[0], need_lse=True))
    for start, key, value in zip(starts[1:], keys[1:], values[1:], strict=True):
        assert now.lse is not None
        finished.append(now.out[:, :, :start - begun])  # these see no later frame
        before = AttentionPart(now.out[:, :, start - begun:], now.lse[:, :, start - begun:])
        begun, now = start, merge([before, attend(q[:, :, start:], key, value, need_lse=True)])
    return torch.cat([*finished, now.out], 2).to(q.dtype)


def precise(part: AttentionPart) -> AttentionPart:
    """With its output in the precision of its LSE, so that many merges do not round it again and again."""
    assert part.lse is not None
    return AttentionPart(part.out.to(part.lse.dtype), part.lse)
