"""Which items are answered together, and by whom. Batches follow from the items and their size alone, so that every number is computed in the same
batch whatever is resumed and however many processes there are."""
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from eval.frame.benchmark import Item

T = TypeVar("T")
Key = tuple[str, str]  # picture, question
PREFILL = 200  # characters of text that about cost as much as a question does besides: its share of a picture, and its answer


def key_of(item: Item) -> Key:
    return item.picture, item.question


def limited(items: Sequence[Item], pictures: int | None) -> list[Item]:
    """Items of the first `pictures` pictures of each split, in order; all of them for None."""
    if pictures is None:
        return list(items)
    seen: dict[str, dict[str, None]] = {}
    for item in items:
        seen.setdefault(item.split, {})[item.picture] = None
    kept = {split: set(islice(names, pictures)) for split, names in seen.items()}
    return [item for item in items if item.picture in kept[item.split]]


def batched(items: Iterable[Item], size: int) -> list[list[Item]]:
    """Batches of `size` pictures with all their distinct questions; splits that share a question ask it once.

    Pictures with equally many questions come together, and among them those whose longest questions are about equally long, so that little is padded.
    """
    found: dict[str, dict[Key, Item]] = {}
    for item in items:
        found.setdefault(item.picture, {}).setdefault(key_of(item), item)
    order = sorted((list(asked.values()) for asked in found.values()), key=lambda asked: (len(asked), max(map(length, asked))))  # stable
    return [[item for asked in order[start:start + size] for item in asked] for start in range(0, len(order), size)]


def length(item: Item) -> int:
    """Characters that the model reads as text."""
    return len(item.question) + len(item.prefix) + sum(map(len, item.candidates))


def cost(batch: Sequence[Item]) -> int:
    """About how much work a batch is, in characters."""
    return sum(PREFILL + length(item) for item in batch)


def shares(batches: Sequence[Sequence[Item]], open_ones: Iterable[int], processes: int) -> list[list[int]]:
    """Which of the open batches each process answers: the costliest first, each given to who has least to do (longest processing time first, Graham
    1969)."""
    costs = {index: cost(batches[index]) for index in open_ones}
    loads, given = [0] * processes, [list[int]() for _ in range(processes)]
    for index in sorted(costs, key=lambda index: (-costs[index], index)):
        rank = loads.index(min(loads))
        given[rank].append(index)
        loads[rank] += costs[index]
    return given


def parts(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`size` at a time."""
    for start in range(0, len(whole), size):
        yield whole[start:start + size]
