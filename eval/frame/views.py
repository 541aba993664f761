"""What the model is shown of each picture: all of it, nothing (blind), or its surroundings without the objects (context).

An accuracy above one half when blind comes from the questions alone; what context adds comes from the prior that surroundings give.
"""
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from eval.frame.benchmark import Item
from mm.sample import Media

View = Literal["full", "blind", "context"]


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


def _zeroed(media: Callable[[], tuple[Media, ...]]) -> Callable[[], tuple[Media, ...]]:
    return lambda: tuple(Media(np.zeros_like(medium.frames), medium.kind) for medium in media())


VIEWS: dict[View, Callable[[Item], Item]] = {"full": full, "blind": blind, "context": context}
