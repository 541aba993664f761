"""Processes of an evaluation as threads: each computes, and they exchange what real ones would."""
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

from eval.frame.processes import Lost


@dataclass
class Room:
    """Where they meet."""

    size: int
    values: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = Barrier(self.size, timeout=30)


@dataclass
class Member:
    """One of them."""

    room: Room
    rank: int

    @property
    def size(self) -> int:
        return self.room.size

    def device(self, device: str) -> str:
        return device

    def gather(self, value: Any) -> Any:
        found = self._exchange(value)
        return found if self.rank == 0 else None

    def share(self, value: Any) -> Any:
        return self._exchange(value)[0]

    def may_tell(self) -> bool:
        return self.rank == 0

    def close(self) -> None:
        pass

    def _exchange(self, value: Any) -> list[Any]:
        try:
            self.room.values[self.rank] = pickle.dumps(value)
            self.room.barrier.wait()
            found = [pickle.loads(self.room.values[rank]) for rank in range(self.size)]
            self.room.barrier.wait()
        except BrokenBarrierError as error:
            raise Lost("a thread ended") from error
        return found


def together(size: int, work: Callable[[Member], Any]) -> Sequence[Any]:
    """What `work` returns, or raises, in each of the members."""
    room, results = Room(size), [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = work(Member(room, rank))
        except BaseException as error:
            results[rank] = error  # type: ignore[call-overload]
            room.barrier.abort()

    threads = [Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
