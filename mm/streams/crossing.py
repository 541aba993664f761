"""One forward pass as the blocks of a stream see it: which tokens read what, and the keys and values that a cache keeps of the sources."""
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mm.streams.attention import CrossAttention
from mm.streams.scope import Scope
from mm.streams.seen import Seen
from mm.streams.segments import Pair, Segment, segments
from mm.streams.sources import Sources

HOME = "mm_sources"  # attribute of a cache


class Read(NamedTuple):
    """The tokens that a pass reads, [rows * count] each. row: of the prompts, which beams share. place: in that row. is_text, is_vision: neither for
    padding. medium: of a visual token, as `Sources` counts them.
    """

    row: np.ndarray
    document: np.ndarray
    branch: np.ndarray
    place: np.ndarray
    is_text: np.ndarray
    is_vision: np.ndarray
    medium: np.ndarray
    frame: np.ndarray


class Memory:
    """What a cache knows of the media of its `rows` rows, which are the prompts' or their beams. keys: projected media, of each layer, for decoding.
    held: tokens of the prompts' rows that text goes on behind; fewer than all where a cache was cut back into them. plans: which tokens read what in
    a decoding step, by `held` and how many there are.
    """

    def __init__(self, sources: Sources, rows: int) -> None:
        prompts = sources.tokens.shape[0]
        if rows % prompts:
            raise ValueError(f"the media are of {prompts} rows and the model reads {rows}; give the media of this batch")
        self.sources, self.rows, self.times, self.held = sources, rows, rows // prompts, sources.tokens.shape[1]
        self.keys: dict[int, Pair] = {}
        self.plans: dict[tuple[int, int], Mapping[str, tuple[Segment, ...]]] = {}

    @property
    def length(self) -> int:
        """Tokens of the prompts' rows, padding counted."""
        return self.sources.tokens.shape[1]

    def prompt(self, start: int, count: int) -> Read:
        """Tokens of the rows that the media came with. ValueError where the model reads more than they are."""
        if start + count > self.length:
            raise ValueError(f"the media are of rows of {self.length} tokens and the model reads tokens {start} to {start + count - 1}; give the map "
                             "of these rows with the media")
        tokens = self.sources.tokens[:, start:start + count]
        tables = [table.cpu().numpy() for table in (tokens.document, tokens.branch, tokens.index, tokens.is_real, tokens.is_vision, tokens.frame)]
        document, branch, index, real, vision, frame = (np.repeat(table, self.times, 0).flatten() for table in tables)
        medium = np.repeat(self.sources.standing.medium[:, start:start + count], self.times, 0).flatten()
        return Read(self.row(count), document, branch, index, real & ~vision, vision, medium, frame)

    def goes_on(self, count: int) -> Read:
        """Text behind the `held` tokens, all of which has what stands before it among these. ValueError where it would follow padding."""
        last = self.prompt(self.held - 1, 1)
        if not (last.is_text | last.is_vision).all():
            raise ValueError("a row of the prompt ends with padding, and decoded tokens would follow it; pad prompts on the left")
        none = np.full(self.rows * count, -1)
        document, branch, place = (np.repeat(table, count) for table in (last.document, last.branch, last.place))
        return Read(self.row(count), document, branch, place, none < 0, none >= 0, none, none)

    def row(self, count: int) -> np.ndarray:
        return np.arange(self.rows).repeat(count) // self.times


class Crossing:
    """`count` tokens behind `start` cached ones, of rows that `memory` knows. It travels through the layers as a keyword argument.

    goes_on: they are text behind what the media came with. is_kept: a cache keeps what is read, for passes that follow. plan: which tokens read what
    in each branch of the stream's blocks, once for all layers.
    """

    def __init__(self, memory: Memory, start: int, count: int, goes_on: bool, is_kept: bool) -> None:
        self.memory, self.is_kept = memory, is_kept
        self.stop = start + count
        self.read = memory.goes_on(count) if goes_on else memory.prompt(start, count)
        self.plan: Mapping[str, tuple[Segment, ...]] = {}

    def of_media(self, readers: np.ndarray, seen: Seen) -> tuple[Segment, ...]:
        """What `readers`, bool [rows * count], read of the media before them in their document, by the rule `seen`."""
        sources, read, stands = self.memory.sources, self.read, self.memory.sources.standing
        at = np.flatnonzero(readers)
        mine = Read(*(table[at, None] for table in read))
        before = ((mine.row == stands.row) & (mine.document == stands.document) & ((stands.branch == 0) | (mine.branch == stands.branch))
                  & (stands.start <= mine.place))
        sets, group = np.unique(np.packbits(visible := seen(before), axis=1), axis=0, return_inverse=True)
        groups = []
        for g in range(len(sets)):
            queries = np.flatnonzero(group.flatten() == g)
            chosen = np.flatnonzero(visible[queries[0]])
            keys = [np.arange(*sources.bounds[m:m + 2]) for m in chosen]
            groups.append((at[queries], np.concatenate(keys) if keys else chosen))
        return segments(groups, sources.features.device)

    def of_own_medium(self, scope: Scope) -> tuple[Segment, ...]:
        """What visual tokens read of the medium that they are of."""
        sources, read = self.memory.sources, self.read
        at = np.flatnonzero(read.is_vision)
        group, bounds = scope(sources, read.medium[at], read.frame[at])
        order = np.argsort(group, kind="stable")
        names, firsts = np.unique(group[order], return_index=True)
        return segments([(at[queries], np.arange(*bounds[g:g + 2])) for g, queries in zip(names, np.split(order, firsts[1:]), strict=True)]
                        if len(at) else [], sources.features.device)

    def keys(self, attention: CrossAttention) -> Pair:
        """Keys and values [1, Hk, P, D] of all features."""
        return attention.keys(self.memory.sources.features[None].to(attention.key.weight.dtype))

    def kept_keys(self, attention: CrossAttention, layer: int) -> Pair:
        """The same, projected once in a generation."""
        if (kept := self.memory.keys.get(layer)) is not None:
            return kept
        pair = self.keys(attention)
        if self.is_kept:
            self.memory.keys[layer] = pair
        return pair

