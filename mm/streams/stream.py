"""A stream inside the language model: blocks between its layers that read media directly, by cross-attention. One file a method."""
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from mm.streams.attention import CrossAttention
from mm.streams.base import Grid, Projector
from mm.streams.crossing import Crossing
from mm.streams.segments import Pair, Segment
from mm.streams.sources import Sources
from mm.tokens import TokenMap

Placement = Literal["before_layer", "after_self_attention", "after_layer"]
Plan = Mapping[str, tuple[Segment, ...]]


class Shape(NamedTuple):
    """What blocks need to know of a decoder. hidden: width of its MLP. eps: of its norms."""

    width: int
    heads: int
    key_heads: int
    head_width: int
    hidden: int
    eps: float


class Block(nn.Module, ABC):
    """What stands at one layer."""

    @abstractmethod
    def forward(self, hidden: Tensor, crossing: Crossing | None, layer: int) -> Tensor:
        """Hidden states [B, Q, width] with what they read of the media added. crossing: None where a call comes without media."""


class Stream(ABC):
    """Which layers get a block, of which kind, and what the blocks read. Holds no block itself: a configuration, from which `VLM` builds them.

    Args of every stream:
        every: layers K, 2K, 3K, ... get one (counted from 1), all of them with 1.
        placement: of the block at its layer. "after_self_attention" is the sum that the layer's MLP reads.
        reader: a projector whose tokens the blocks read in place of the encoder's own features; None for these, as the encoder gives them.
    """

    def __init__(self, every: int, placement: Placement, reader: Projector | None) -> None:
        if every < 1:
            raise ValueError(f"{type(self).__name__}: every counts layers, so it is at least 1; got {every}")
        if placement not in (known := get_args(Placement)):
            raise ValueError(f"{type(self).__name__}: placement is one of {', '.join(known)}; got {placement!r}")
        self.every, self.placement, self.reader = every, placement, reader

    def layers(self, count: int) -> list[int]:
        """Indices of the layers, of `count`, that get a block. ValueError where none does."""
        if self.every > count:
            raise ValueError(f"{type(self).__name__}: every {self.every} layers is never in a model of {count}; set every to {count} or less")
        return list(range(self.every - 1, count, self.every))

    @abstractmethod
    def block(self, shape: Shape, source_width: int) -> Block:
        """A fresh one, for a decoder of that shape, without effect."""

    @abstractmethod
    def plan(self, crossing: Crossing) -> Plan:
        """Which tokens read what in each branch of the blocks."""

    def source_width(self, width: int) -> int:
        """Of what blocks read, where the encoder's features are `width` wide. ValueError for a reader that does not fit it."""
        if self.reader is None:
            return width
        if self.reader.levels:
            raise ValueError(f"{type(self).__name__}: its reader {type(self.reader).__name__} wants further layers of the encoder, "
                             f"{self.reader.levels}, and blocks read the encoder's own features; take a reader without levels")
        if self.reader.in_width != width:
            raise ValueError(f"{type(self).__name__}: its reader {type(self.reader).__name__} takes features {self.reader.in_width} wide, and the "
                             f"encoder's are {width}; build it with in_width={width}")
        return self.reader.out_width

    def read(self, features: Tensor, grid: Grid, frames: Sequence[int], tokens: TokenMap) -> Sources:
        """What blocks read of features [F, N, C] of media of `frames` frames each. tokens: the rows [B, N] in which they stand."""
        if self.reader is None:
            return Sources.of_frames(features, frames, tokens)
        return Sources(self.reader.project(features, grid, frames), [[self.reader.num_tokens(grid, count)] for count in frames], tokens)


class Branch(nn.Module):
    """tanh(gate) · Attn(norm(x), media): what is added to the tokens that read. The gate is 0 at the start, so nothing is."""

    def __init__(self, norm: nn.Module, attention: CrossAttention) -> None:
        super().__init__()
        self.norm, self.attention = norm, attention
        self.gate = nn.Parameter(torch.zeros(()))

    @property
    def rests(self) -> bool:
        """Frozen at 0, as a branch is in a stage that leaves it out: it need not be computed."""
        return self.training and not self.gate.requires_grad and not bool(self.gate)

    def forward(self, x: Tensor, pair: Pair, segments: Sequence[Segment]) -> list[tuple[Tensor, Tensor]]:
        """x: flattened tokens [T, C]. → of each segment its tokens, indices [t], and what is added to them, [t, C]."""
        gate = torch.tanh(self.gate)
        return [(segment.tokens, (gate * segment.meant(self.attention(self.norm(x[segment.queries]), segment.of(pair)))).to(x.dtype))
                for segment in segments]


def added(x: Tensor, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """x, flattened tokens [T, C], plus the parts."""
    for tokens, part in parts:
        x = x.index_add(0, tokens, part)
    return x
