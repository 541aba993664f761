"""What the data sets of the world have in common: a split, a seed, and items that are functions of their index."""
from abc import ABC, abstractmethod
from typing import Any

from torch.utils.data import Dataset

from data.world.draws import Draws, Purpose
from data.world.sampling import World
from data.world.splits import Name, split_of
from mm.sample import Sample


class View(Dataset[Sample], ABC):
    """Map-style: item i is a function of (seed, split, i) alone. So no worker or rank repeats another, splits share nothing, and a longer set begins
    as a shorter one.

    split: a name of `data.world.splits`. size: number of items. seed: below 2^32. world: the law of the scenes.
    """

    kind: str  # names the items
    purpose: Purpose

    def __init__(self, split: Name, size: int, seed: int, world: World | None) -> None:
        if size < 0:
            raise ValueError(f"{type(self).__name__}: size is the number of items, 0 or more; got {size}")
        self.split = split
        self.size = size
        self.seed = seed
        self.world = world or World()
        self.law = split_of(split)

    def __len__(self) -> int:
        return self.size

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    @abstractmethod
    def truth(self, index: int) -> dict[str, Any]:
        """Everything there is to know of item `index`, as plain JSON values."""

    def name(self, index: int) -> str:
        """The item's id: it says how to make the item again."""
        return f"{self.kind}-{self.split}-{self.seed}-{index}"

    def draws(self, index: int) -> Draws:
        """The stream of random choices that item `index` is made of."""
        if not 0 <= index < self.size:  # IndexError ends a plain `for` over the data set
            raise IndexError(f"{self.kind} {index} of the {self.split} split, which has {self.size}")
        return Draws(self.seed, self.law.stream, index, self.purpose)
