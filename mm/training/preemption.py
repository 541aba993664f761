"""A polite end: on SIGTERM (preemption, time limit) or Ctrl-C the step is finished, a checkpoint written, and the program leaves."""
import signal
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from mm.training.checkpoint import Checkpoints

SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACE = 60  # seconds


class Interrupted(BaseException):
    """The run stopped because it was asked to, and can be resumed. Not an Exception: nothing between here and the program should catch it."""

    def __init__(self, number: int, step: int, path: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step}; {path} is written, --resume true goes on from it")
        self.exit_code = 128 + number  # as a shell reports it: the run is not finished, so whatever follows it in a script should not start


class Preemption(Callback):
    """Looks after every optimiser step whether any rank has been asked to stop. A second Ctrl-C stops at once, without a checkpoint."""

    def __init__(self) -> None:
        self.asked = 0
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = {number: signal.signal(number, self.ask) for number in SIGNALS}

    def ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = number

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.fit_loop._should_accumulate() or not trainer.strategy.reduce_boolean_decision(bool(self.asked), all=False):
            return
        path = next(callback for callback in trainer.callbacks if isinstance(callback, Checkpoints)).save(trainer)  # type: ignore[attr-defined]
        raise Interrupted(self.asked or signal.SIGTERM, trainer.global_step, str(path))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.release()

    def release(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}


def outlive_signals(worker: int) -> None:
    """In a data worker: a signal to the whole process group is for the trainer to answer, which still needs this worker's batches for a while."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave_later)  # an alarm ends the process


def leave_later(number: int, frame: FrameType | None) -> None:
    signal.alarm(GRACE)
