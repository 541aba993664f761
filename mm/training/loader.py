"""Batches in an order that depends on the seed alone, from any point of it: the same with 0 or 9 workers, stopped or not."""
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from mm.sample import BadSample, Sample
from mm.training.preemption import outlive_signals
from mm.training.randomness import kept_generators, seed_generators

IN_A_ROW = 100  # so many broken samples one after another are no accident


class Samples(Protocol):
    """A map-style data set of samples."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class Processor(Protocol):
    """Makes rows of samples, and batches of rows. A batch has `ids` and `to(device)`."""

    def encode(self, sample: Sample, /) -> Any: ...

    def collate(self, rows: list[Any], /) -> Any: ...


class Draw(NamedTuple):
    """This rank's next batch. indices: into the data set; places: in the run; end: samples used up to here."""

    indices: tuple[int, ...]
    places: tuple[int, ...]
    end: int


class Drawn(NamedTuple):
    """A batch and where it stands. end: samples of the run consumed once it is trained on, by all ranks. skipped: why samples were passed over."""

    batch: Any
    end: int
    skipped: tuple[str, ...] = ()


class Broken(NamedTuple):
    """A sample that could not be used, on its way from the worker to the process that may stop the run."""

    id: str
    reason: str


@dataclass(frozen=True)
class Order:
    """The order of training: the permutation of pass 0, then of pass 1, ..., without a seam.

    Batch k of the run takes places k·G to (k+1)·G, G = batch_size · ranks; rank r takes the r-th `batch_size` of them. So no sample is dropped,
    ranks never share one, and a single number, the samples consumed, says where a run is, also after batch size or number of ranks have changed.
    """

    samples: int
    batch_size: int
    seed: int
    rank: int = 0
    ranks: int = 1

    @property
    def batches(self) -> int:
        """Batches in one pass; the last of them may reach into the next pass."""
        return -(-self.samples // (self.batch_size * self.ranks))

    def permutation(self, turn: int) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + turn)
        return torch.randperm(self.samples, generator=generator).tolist()

    def draws(self, consumed: int) -> Iterator[Draw]:
        """Endless; the first draw follows `consumed` samples of the run."""
        turn, permutation = -1, list[int]()
        while True:
            end = consumed + self.batch_size * self.ranks
            first = consumed + self.batch_size * self.rank
            indices = []
            for place in range(first, first + self.batch_size):
                if place // self.samples != turn:
                    turn, permutation = place // self.samples, self.permutation(place // self.samples)
                indices.append(permutation[place % self.samples])
            yield Draw(tuple(indices), tuple(range(first, first + self.batch_size)), end)
            consumed = end


@dataclass(frozen=True)
class Once:
    """The order of validation: every sample once, as stored; rank r takes samples r, r + ranks, ... The last batch may be smaller."""

    samples: int
    batch_size: int
    rank: int = 0
    ranks: int = 1

    @property
    def batches(self) -> int:
        return -(-len(range(self.rank, self.samples, self.ranks)) // self.batch_size)

    def draws(self, consumed: int) -> Iterator[Draw]:
        mine = range(self.rank, self.samples, self.ranks)
        for first in range(0, len(mine), self.batch_size):
            indices = tuple(mine[first:first + self.batch_size])
            yield Draw(indices, indices, 0)


class Batches(Dataset[Any]):
    """What a worker does: draw → samples → rows → batch. Whatever a sample draws at random depends on the seed and its place in the run alone."""

    def __init__(self, samples: Samples, processor: Processor, seed: int, on_error: Literal["raise", "skip"]) -> None:
        self.samples, self.processor, self.seed, self.on_error = samples, processor, seed, on_error

    def __getitem__(self, draw: Draw) -> Drawn | Broken:
        with kept_generators():
            return self.drawn(draw)

    def drawn(self, draw: Draw) -> Drawn | Broken:
        rows, skipped = [], []
        for index, place in zip(draw.indices, draw.places, strict=True):
            for attempt in range(IN_A_ROW):
                try:
                    seed_generators(self.seed, place, attempt)
                    rows.append(self.processor.encode(self.samples[(index + attempt) % len(self.samples)]))
                    break
                except BadSample as error:
                    if self.on_error == "raise":
                        return Broken(error.id, error.reason)
                    skipped.append(str(error))
            else:
                return Broken(skipped[-1].split(":")[0], f"the last of {IN_A_ROW} broken samples in a row: {skipped[-1]}")
        return Drawn(self.processor.collate(rows), draw.end, tuple(skipped))


class Cursor:
    """A sampler that the loader's workers are fed from: the draws of one pass, from wherever the run is when it begins."""

    def __init__(self, order: Order | Once) -> None:
        self.order, self.consumed = order, 0

    def __iter__(self) -> Iterator[Draw]:
        done = 0
        if isinstance(self.order, Order):  # a pass that was broken off is finished, not begun anew
            done = self.consumed // (self.order.batch_size * self.order.ranks) % self.order.batches
        for _, draw in zip(range(self.order.batches - done), self.order.draws(self.consumed), strict=False):
            yield draw

    def __len__(self) -> int:
        return self.order.batches


class Loader:
    """An iterable of `Drawn`, one pass an iteration. Its state is what was *consumed*, which the trainer hands back with `consume`: batches that
    workers or the trainer have fetched ahead do not count (a state of what was yielded loses one batch at each resume).

    on_error: "raise" stops with the BadSample; "skip" puts the next usable sample of the data set in its place and says so in `Drawn.skipped`.
    """

    def __init__(self, samples: Samples, processor: Processor, order: Order | Once, workers: int, seed: int,
                 on_error: Literal["raise", "skip"], pin_memory: bool = False) -> None:
        self.cursor = Cursor(order)
        self.loader: DataLoader[Any] = DataLoader(
            Batches(samples, processor, seed, on_error), batch_size=None, sampler=self.cursor, collate_fn=as_is,  # type: ignore[arg-type]
            num_workers=workers, persistent_workers=workers > 0, worker_init_fn=outlive_signals, pin_memory=pin_memory,
            generator=torch.Generator().manual_seed(seed))  # its own: the run's stays untouched
        self.waited = 0.0  # seconds in which nobody trained because the batch was not there yet

    def __len__(self) -> int:
        return len(self.cursor)

    def __iter__(self) -> Iterator[Drawn]:
        batches = iter(self.loader)
        while True:
            start = time.perf_counter()
            drawn = next(batches, None)
            self.waited += time.perf_counter() - start
            if drawn is None:
                return
            if isinstance(drawn, Broken):
                raise BadSample(drawn.id, f"{drawn.reason} (data.on_error: skip passes over such samples and counts them)")
            yield drawn

    def consume(self, drawn: Drawn) -> None:
        self.cursor.consumed = drawn.end

    def close(self) -> None:
        """End the workers."""
        workers, self.loader._iterator = self.loader._iterator, None
        if workers is not None and hasattr(workers, "_shutdown_workers"):
            workers._shutdown_workers()

    def state_dict(self) -> dict[str, int]:
        return {"consumed": self.cursor.consumed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.cursor.consumed = state["consumed"]


def as_is(item: Drawn | Broken) -> Drawn | Broken:
    return item
