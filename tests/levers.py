"""Masks with positions that they are used with, small enough for rows of a dozen tokens; whatever holds for a lever is tried on all of them."""
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mm.masks import (
    Causal,
    Composite,
    ContextBidirectional,
    CrocMixed,
    Document,
    ImageBlock,
    Mask,
    ModalityMutual,
    PositionCausal,
    Power,
    Prefix,
    PrefixTree,
    SinkWindow,
)
from mm.positions import Concentric, Positions, Restart, ReverseRaster, SinglePosition
from mm.tokens import TokenMap
from tests.toys import alone, ids_for, paths

MASKS: list[Mask] = [
    Causal(), Prefix(), ImageBlock(), PrefixTree(), PrefixTree() | ImageBlock(), Prefix() & ImageBlock(), PositionCausal(), ModalityMutual(),
    Composite(), ContextBidirectional(), CrocMixed(), SinkWindow(1, 3), SinkWindow(2, 3) | ImageBlock(), Power(2, 1, 2)]
POSITIONS: list[Positions] = [Restart(), Concentric(), ReverseRaster(), SinglePosition()]
LEVERS: list[tuple[Mask, Positions]] = [
    *((mask, Restart()) for mask in MASKS), *((PositionCausal(), positions) for positions in POSITIONS[1:]),
    (Causal(), Concentric()), (PositionCausal() & SinkWindow(1, 4), Concentric()), (ModalityMutual(), SinglePosition())]
ANY_MASK: list[Mask] = [*MASKS, Document(), Causal() | Document(), Causal() & Document(), ModalityMutual("all_turns")]  # not for training decoders

FEW: list[tuple[Mask, Positions]] = [  # where a whole model is read, one of each kind
    (mask, Concentric() if isinstance(mask, PositionCausal) else Restart())
    for mask in (Causal(), Prefix(), ImageBlock(), PositionCausal(), ModalityMutual(), Composite(), ContextBidirectional(), SinkWindow(1, 3))]


def each(pairs: list[tuple[Mask, Positions]]) -> list[Any]:
    """Parameters `mask, positions` with names to read."""
    return [pytest.param(mask, positions, id=f"{mask}-{positions}") for mask, positions in pairs]


class Everything(Mask):
    """Sees all: what isolation alone leaves of a careless rule."""

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return torch.ones_like(q.index == k.index)


class Doubled(Positions):
    """Two apart."""

    def assign(self, tokens: TokenMap) -> Tensor:
        return 2 * tokens.depth


def assert_company_changes_nothing(mask: Mask, tokens: TokenMap, read: Callable[[Tensor, TokenMap], Tensor]) -> None:
    """Each path through packed, branched and padded rows reads as a row of its own. read: (ids [B, N], tokens) → logits [B, N, V] under `mask`."""
    ids, compared = ids_for(tokens), 0
    with torch.no_grad():
        together = read(ids, tokens)
        for b, path in paths(tokens):
            if mask.shares_image_prefix or not tokens.branch[b, path].any():  # images that read their question cannot serve several
                single = read(ids[b:b + 1, path], alone(tokens[b:b + 1], path))
                torch.testing.assert_close(together[b:b + 1, path], single, rtol=0, atol=2e-5)
                compared += 1
    assert compared > 1
