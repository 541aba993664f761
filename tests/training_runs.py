"""Short runs of the program, each in a process of its own that can be killed; forked, because importing everything again takes longer than that."""
import contextlib
import json
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import train
from mm.training.exact import ExactSteps

ROOT = Path(__file__).parents[1]
TOY = ["fit", "--config", str(ROOT / "configs" / "toy.yaml")]


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code (negative: killed by that signal), what it printed, its directory."""

    code: int | None
    text: str
    folder: Path

    @property
    def ids(self) -> list[str]:
        """Samples in the order in which they were trained on."""
        return (self.folder.parent / f"{self.folder.name}.ids").read_text().split()

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]

    @property
    def checkpoint(self) -> dict[str, Any]:
        return torch.load(self.folder / "checkpoints" / "last.ckpt", weights_only=True)


def run(folder: Path, *options: str, config: list[str] = TOY, after: dict[int, int] | None = None, prepare: Callable[[], None] | None = None,
        limit: float = 100) -> Ended:
    """Run train.py. after: step → signal that hits the process right after this optimiser step. prepare: called in the new process."""
    log = folder.parent / f"{folder.name}.log"
    arguments = [*config, *([] if "--run_dir" in options else ["--run_dir", str(folder)]), *options]
    process = multiprocessing.get_context("fork").Process(target=_child, args=(arguments, log, folder, after or {}, prepare))
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"the run took more than {limit} s: {log.read_text()}")
    return Ended(process.exitcode, log.read_text(), folder)


def forked(words: Sequence[str]) -> None:
    """What a comparison gives to `train.py`, in such a process."""
    folder = Path(words[words.index("--run_dir") + 1])
    folder.parent.mkdir(parents=True, exist_ok=True)
    ended = run(folder, config=list(words))
    if ended.code:
        raise RuntimeError(ended.text)


def refused(words: Sequence[str]) -> None:
    """In place of `forked` where nothing is left to train."""
    raise AssertionError(f"trained again: {words}")


def _child(arguments: list[str], log: Path, folder: Path, after: dict[int, int], prepare: Callable[[], None] | None) -> None:
    os.chdir(ROOT)
    torch.set_num_threads(1)
    torch.cuda._is_in_bad_fork = lambda: False  # an earlier test may have counted GPUs; these runs use none, so the fork is not bad
    step = ExactSteps.training_step

    def recorded(self: ExactSteps, drawn: Any, index: int) -> torch.Tensor:
        with (folder.parent / f"{folder.name}.ids").open("a") as file:
            file.write(" ".join(drawn.batch.ids) + "\n")
        return step(self, drawn, index)

    def struck(self: ExactSteps, *_: Any) -> None:
        if self.global_step in after and not self.trainer.fit_loop._should_accumulate():
            os.kill(os.getpid(), after[self.global_step])

    ExactSteps.training_step = recorded  # type: ignore[method-assign]
    ExactSteps.on_train_batch_start = struck  # type: ignore[method-assign]
    with log.open("a", buffering=1) as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        warnings.showwarning = lambda message, *_: print(message)  # pytest keeps them to itself
        if prepare is not None:
            prepare()
        sys.argv = ["train.py", *arguments]
        try:
            train.main()
        except SystemExit as error:
            if isinstance(error.code, str):
                print(error.code)
            raise
