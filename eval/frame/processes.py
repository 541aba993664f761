"""The processes that share an evaluation: one, or as many as torchrun started. They exchange Python objects; nobody needs to see another's disk."""
import os
import signal
from datetime import timedelta
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # a process may have much more to compute than another; one that died is noticed at once, by its closed connection


class Lost(RuntimeError):
    """Another process of the run is gone."""

    def __init__(self, how: str) -> None:
        super().__init__(f"another process of this run ended before it was done ({how}). Every batch that was answered is kept: start the same "
                         "command again, with any number of processes, and it goes on")


class Processes(Protocol):
    """rank: of this process, 0 for the one that merges, scores and speaks. size: how many there are."""

    rank: int
    size: int

    def device(self, device: str) -> str:
        """Where this process computes: "cuda" becomes its own GPU."""

    def gather(self, value: T) -> list[T] | None:
        """Values of all processes, by rank, on process 0; None on the others. Waits for them."""

    def share(self, value: T | None) -> T:
        """What process 0 gives, on all of them."""

    def may_tell(self) -> bool:
        """Whether nobody has told of an error yet, so that it is told once."""

    def close(self) -> None: ...


class Alone:
    """The only process: nothing is exchanged, and torch.distributed is not touched."""

    rank, size = 0, 1

    def device(self, device: str) -> str:
        return device

    def gather(self, value: T) -> list[T] | None:
        return [value]

    def share(self, value: T | None) -> T:
        assert value is not None, "process 0 has it"
        return value

    def may_tell(self) -> bool:
        return True

    def close(self) -> None:
        pass


class Group:
    """The processes of torchrun: gloo between CPUs, NCCL between GPUs, of which each process has one. What is exchanged here goes through gloo."""

    def __init__(self) -> None:
        import torch
        import torch.distributed as dist

        self.store, self.rank, self.size = next(dist.rendezvous("env://"))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=self.store, rank=self.rank, world_size=self.size)
        self.group: Any = dist.new_group(backend="gloo", timeout=PATIENCE)
        self.before = signal.signal(signal.SIGTERM, self._stopped)

    def device(self, device: str) -> str:
        if device != "cuda":
            return device
        import torch

        torch.cuda.set_device(own := int(os.environ.get("LOCAL_RANK", self.rank)))
        return f"cuda:{own}"

    def gather(self, value: T) -> list[T] | None:
        import torch.distributed as dist

        found: list[Any] | None = [None] * self.size if self.rank == 0 else None
        try:
            dist.gather_object(value, found, dst=0, group=self.group)
        except RuntimeError as error:
            raise Lost(str(error).splitlines()[0]) from error
        return found

    def share(self, value: T | None) -> T:
        import torch.distributed as dist

        held: list[Any] = [value]
        try:
            dist.broadcast_object_list(held, src=0, group=self.group)
        except RuntimeError as error:
            raise Lost(str(error).splitlines()[0]) from error
        return held[0]  # type: ignore[no-any-return]

    def may_tell(self) -> bool:
        try:
            return int(self.store.add("told", 1)) == 1
        except RuntimeError:  # the process that kept the store is the one that is gone
            return True

    def close(self) -> None:
        import torch.distributed as dist

        signal.signal(signal.SIGTERM, self.before)
        dist.destroy_process_group()

    def _stopped(self, number: int, frame: object) -> None:
        """torchrun ends the others when one has died."""
        raise Lost("stopped by SIGTERM")


def processes() -> Processes:
    """Those that torchrun started this one with, or this one alone."""
    return Group() if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ else Alone()
