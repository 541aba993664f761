"""Cross-attention without a mask: queries that see the same keys make one group, and groups of one size one call of the kernel.

Whatever the media rule, a token sees whole media or whole frames, so Q×N masks are never made, and only what is seen is computed.
"""
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]


class Segment(NamedTuple):
    """G groups of q queries, each over n keys of its own, all of which it sees.

    queries: [G, q], indices into flattened tokens; a group that is too short is filled up with its first. real: indices into the flattened [G * q] of
    those that are meant, None for all. keys: [G * n] indices into the features, or the slice that they are.
    """

    queries: Tensor
    real: Tensor | None
    keys: Tensor | slice

    def of(self, pair: Pair) -> Pair:
        """Keys and values [1, Hk, P, D] of all features as each group reads them, [G, Hk, n, D]."""
        k, v = (table[0, :, self.keys].unflatten(1, (len(self.queries), -1)).transpose(0, 1) for table in pair)
        return k, v

    @property
    def tokens(self) -> Tensor:
        """Those that are meant, [T]."""
        flat = self.queries.flatten()
        return flat if self.real is None else flat[self.real]

    def meant(self, out: Tensor) -> Tensor:
        """What was made of the queries, [G, q, C], of those that are meant, [T, C]."""
        flat = out.flatten(0, 1)
        return flat if self.real is None else flat[self.real]


def segments(groups: Sequence[tuple[np.ndarray, np.ndarray]], device: torch.device) -> tuple[Segment, ...]:
    """groups: indices of the queries and of the keys of each; keys in ascending order. Filling up at most doubles the queries."""
    sizes: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for queries, keys in groups:
        if len(queries) and len(keys):
            sizes[len(keys), len(queries).bit_length()].append((queries, keys))
    return tuple(_segment(sorted(alike, key=lambda group: int(group[1][0])), device) for alike in sizes.values())


def _segment(groups: Sequence[tuple[np.ndarray, np.ndarray]], device: torch.device) -> Segment:
    most = max(len(queries) for queries, _ in groups)
    filled = np.stack([np.append(queries, np.full(most - len(queries), queries[0])) for queries, _ in groups])
    real = np.flatnonzero(np.concatenate([np.arange(most) < len(queries) for queries, _ in groups]))
    keys = np.concatenate([keys for _, keys in groups])
    run = slice(int(keys[0]), int(keys[0]) + len(keys))
    in_a_run = bool((keys == np.arange(run.start, run.stop)).all())
    return Segment(torch.from_numpy(filled).to(device), None if len(real) == filled.size else torch.from_numpy(real).to(device),
                   run if in_a_run else torch.from_numpy(keys).to(device))
