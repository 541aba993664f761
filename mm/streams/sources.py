"""The media of a batch as blocks inside a language model read them: features, and where in the rows each medium stands."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from mm.tokens import TokenMap


class Standing(NamedTuple):
    """Where M media stand in rows of tokens: int64 [M] each, in row order. start: index of a medium's first token in its row.
    medium: [B, N], which of them a token belongs to, -1 for text and padding.
    """

    row: np.ndarray
    document: np.ndarray
    branch: np.ndarray
    start: np.ndarray
    medium: np.ndarray


def standing(tokens: TokenMap) -> Standing:
    """The media of rows [B, N], packed, branched and padded ones included: visual tokens of one document with one media index are one medium."""
    at = np.flatnonzero(tokens.is_vision.flatten().cpu().numpy())
    tables = (tokens.document, tokens.media, tokens.branch, tokens.index)
    document, media, branch, index = (table.flatten().cpu().numpy()[at] for table in tables)
    row = at // tokens.shape[1]
    names = np.stack([row, document, media])
    begins = np.append(np.ones(min(len(at), 1), dtype=bool), (names[:, 1:] != names[:, :-1]).any(0))
    medium = np.full(tokens.shape.numel(), -1)
    medium[at] = begins.cumsum() - 1
    return Standing(row[begins], document[begins], branch[begins], index[begins], medium.reshape(tokens.shape))


@dataclass(frozen=True, eq=False)
class Sources:
    """features: [P, C] of M media, one after another in the order in which they stand in the rows. pieces: of each medium, how many features each of
    its frames has; a single number where frames are not told apart. tokens: [B, N], the rows.

    ValueError where features, pieces and rows do not belong together.
    """

    features: Tensor
    pieces: Sequence[Sequence[int]]
    tokens: TokenMap

    def __post_init__(self) -> None:
        stand, given = len(self.standing.row), len(self.pieces)
        if stand != given:
            raise ValueError(f"the rows hold visual tokens of {stand} media, and features of {given} came with them; give each medium of the rows, "
                             "in their order, and at least one visual token for each")
        if self.bounds[-1] != len(self.features):
            raise ValueError(f"the media's frames have {self.bounds[-1]} features in all, and {len(self.features)} were given")

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sources":
        return self  # nothing in it changes, and copies of a cache share it

    @staticmethod
    def of_frames(features: Tensor, frames: Sequence[int], tokens: TokenMap) -> "Sources":
        """Of features [F, N, C] of media of `frames` frames each, F in all."""
        return Sources(features.flatten(0, 1), [[features.shape[1]] * count for count in frames], tokens)

    @cached_property
    def standing(self) -> Standing:
        return standing(self.tokens)

    @cached_property
    def bounds(self) -> np.ndarray:
        """Where each medium's features begin, and the last one's end, [M + 1]."""
        return np.cumsum([0, *(sum(pieces) for pieces in self.pieces)])


_shown: ContextVar[Sources | None] = ContextVar("mm_sources", default=None)


def shown() -> Sources | None:
    return _shown.get()


@contextmanager
def showing(media: Sources | None) -> Iterator[Sources | None]:
    """What a model with a stream reads within, where its call cannot say so: `generate` refuses arguments that it does not know."""
    token = _shown.set(media)
    try:
        yield media
    finally:
        _shown.reset(token)
