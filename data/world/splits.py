"""Which colour-shape pairs a split shows and names. A held-out quarter of them is never seen in training, so that composing can be tested."""
from dataclasses import dataclass
from typing import Literal

from data.world.mix import Mix
from data.world.vocabulary import COLOURS, SHAPES

Pair = tuple[str, str]  # shape, colour

PAIRS: tuple[Pair, ...] = tuple((shape, colour) for shape in SHAPES for colour in COLOURS)
HELD_OUT = frozenset((shape, COLOURS[(3 * s + k) % 8]) for s, shape in enumerate(SHAPES) for k in (5, 2))
SEEN = frozenset(PAIRS) - HELD_OUT

Name = Literal["train", "val", "test", "systematic", "distractor", "productive"]


@dataclass(frozen=True)
class Split:
    """stream: number of its random stream, so no two splits share a scene. shows: pairs a scene may hold. names: pairs a question may name,
    as truth or as distractor. mix: what is asked unless the user says otherwise. objects: (least, most), None for what the world says.
    needs_named: draw scenes until one holds a pair that may be named."""

    stream: int
    shows: frozenset[Pair]
    names: frozenset[Pair]
    mix: Mix
    objects: tuple[int, int] | None = None
    needs_named: bool = False


EVERY = frozenset(PAIRS)
SPLITS: dict[Name, Split] = {
    "train": Split(0, shows=SEEN, names=SEEN, mix=Mix()),
    "val": Split(1, shows=EVERY, names=SEEN, mix=Mix()),
    "test": Split(2, shows=EVERY, names=SEEN, mix=Mix()),
    "systematic": Split(3, shows=EVERY, names=HELD_OUT, mix=Mix.only("pair"), needs_named=True),  # truth and distractor are both new pairs
    "distractor": Split(4, shows=EVERY, names=SEEN, mix=Mix.only("pair"), objects=(8, 8)),
    "productive": Split(5, shows=EVERY, names=SEEN, mix=Mix.only("conjunction")),  # training asks for one pair, this for two or three
}


def split_of(name: Name) -> Split:
    if name not in SPLITS:
        raise ValueError(f"the world has no split {name!r}; it has {', '.join(SPLITS)}")
    return SPLITS[name]
