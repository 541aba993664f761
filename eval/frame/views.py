"""What the model is shown of each picture: all of it, nothing (blind), its surroundings without the objects (context), or the frames of a clip in
random order (shuffled).

An accuracy above one half when blind comes from the questions alone; what context adds comes from the prior that surroundings give; what a clip loses
by shuffling comes from order in time.
"""
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from eval.frame.benchmark import Item
from mm.sample import Media

View = Literal["full", "blind", "context", "shuffled"]


def full(item: Item) -> Item:
    return item


def blind(item: Item) -> Item:
    """Every pixel zero."""
    return replace(item, media=_zeroed(item.media))


def context(item: Item) -> Item:
    """The picture with its objects erased. Raises ValueError where the data cannot say what lies behind them."""
    if item.context is None:
        raise ValueError(f"item {item.id}: a view without objects is known for the procedural world only; leave out --view context")
    return replace(item, media=item.context)


def shuffled(item: Item) -> Item:
    """The frames of each clip in an order drawn by the item's picture, the times staying where they are. A picture stays as it is."""
    return replace(item, media=_permuted(item.media, zlib.crc32(item.picture.encode(errors="surrogateescape"))))


def _permuted(media: Callable[[], tuple[Media, ...]], seed: int) -> Callable[[], tuple[Media, ...]]:
    def read() -> tuple[Media, ...]:
        rng = np.random.default_rng(seed)
        return tuple(replace(medium, frames=medium.frames[rng.permutation(len(medium.frames))]) for medium in media())

    return read


def _zeroed(media: Callable[[], tuple[Media, ...]]) -> Callable[[], tuple[Media, ...]]:
    return lambda: tuple(replace(medium, frames=np.zeros_like(medium.frames)) for medium in media())


VIEWS: dict[View, Callable[[Item], Item]] = {"full": full, "blind": blind, "context": context, "shuffled": shuffled}
