"""Masks with positions that they are used with, small enough for rows of a dozen tokens; whatever holds for a lever is tried on all of them."""
from typing import Any

import pytest

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
