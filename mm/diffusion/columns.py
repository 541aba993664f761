"""Prompt-to-Prompt in the space of values: Hertz et al., "Prompt-to-Prompt Image Editing with Cross-Attention Control", ICLR 2023.

Each of its edits is linear in attention maps, `A_e <- A_0 S + A_e diag(d)`, and `(A_0 S + A_e diag(d)) V = A_0 (S V) + A_e (d V)`: two ordinary
attentions over transformed values. No map has to exist, so any kernel will do.
"""
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Columns:
    """What becomes of the columns of an edited prompt's map, [K] keys.

    source: S [K, K], how much of the source's column i (row) goes to the edited column j; None for nothing. own: d [K], what stays of the prompt's
    own columns; None for all. normalised: rows are divided by their sum afterwards, so that mass moves between words and none is made or lost.
    """

    source: Tensor | None = None
    own: Tensor | None = None
    normalised: bool = False

    @property
    def is_neutral(self) -> bool:
        """Whether it leaves the map as it is; looks at the values, so compute it once a step and not in every layer."""
        return (self.source is None or not bool(self.source.any())) and (self.own is None or bool((self.own == 1).all()))

    @cached_property
    def gone(self) -> bool:
        """Whether nothing stays of the prompt's own columns."""
        return self.own is not None and not _learns(self.own) and not bool(self.own.any())

    @property
    def learns(self) -> bool:
        """Whether gradients go into it."""
        return any(_learns(part) for part in (self.source, self.own) if part is not None)

    def mixed(self, changed: "Columns", gate: Tensor) -> "Columns":
        """`gate` [K] of `changed` and the rest of this, column by column."""
        keys = gate.shape[0]
        (new, new_own), (old, old_own) = changed.filled(keys, gate), self.filled(keys, gate)
        normalised = self.normalised or (changed.normalised and bool(gate.any()))
        source = None if self.source is None is changed.source else new * gate + old * (1 - gate)
        return Columns(source, new_own * gate + old_own * (1 - gate), normalised).simplest()

    def scaled(self, factors: Tensor) -> "Columns":
        """Each column times its factor [K], of any sign."""
        source, own = self.filled(factors.shape[0], factors)
        return replace(self, source=None if self.source is None else source * factors, own=own * factors).simplest()

    def filled(self, keys: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Both tensors written out, in the dtype and on the device of `like`."""
        source = like.new_zeros(keys, keys) if self.source is None else self.source.to(like)
        own = like.new_ones(keys) if self.own is None else self.own.to(like)
        return source, own

    def simplest(self) -> "Columns":
        """None for a source that gives nothing and for own columns that all stay, so that whole attentions can be left out; what is learned stays,
        whatever its value is now.
        """
        source = self.source if self.source is not None and (_learns(self.source) or bool(self.source.any())) else None
        own = None if self.own is not None and not _learns(self.own) and bool((self.own == 1).all()) else self.own
        return replace(self, source=source, own=own)

    def on_maps(self, source: Tensor, own: Tensor) -> Tensor:
        """The edit on maps [..., K] themselves; for tests and for recorded columns."""
        edited = own if self.own is None else own * self.own.to(own)
        if self.source is not None:
            edited = edited + source @ self.source.to(source)
        return edited / edited.sum(-1, keepdim=True) if self.normalised else edited


def _learns(part: Tensor) -> bool:
    return part.requires_grad and torch.is_grad_enabled()


NEUTRAL = Columns()


def from_source(mapping: Tensor, kept: Tensor | None = None) -> Columns:
    """Columns that come from the source by `mapping` [K, K]; of its own the prompt keeps `kept` [K], nothing by default."""
    return Columns(mapping, mapping.new_zeros(mapping.shape[1]) if kept is None else kept)


def identity(keys: int) -> Tensor:
    """[K, K]: each column from the source's column of the same place."""
    return torch.eye(keys)
