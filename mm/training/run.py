"""The directory of a run: config.yaml, metrics.jsonl, checkpoints/, model/. It is never overwritten, only continued."""
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mm.training.checkpoint import CheckpointError, few, read_checkpoint
from mm.training.halt import NonFinite
from mm.training.preemption import Interrupted
from mm.training.provenance import changed_since


class RunError(RuntimeError):
    """A run directory that cannot be used as asked."""


def checkpoint_to_resume(run_dir: str | None, resume: bool) -> str | None:
    """The checkpoint a fit starts from: none for a new run. Raises RunError where work would be overwritten, or there is no directory to work in."""
    if run_dir is None:
        raise RunError("a fit needs a directory to write to; give one with --run_dir runs/<name>.")
    folder = Path(run_dir)
    found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if set(found) - {"config.yaml"} and not resume:  # a run that failed before it began has left nothing to lose
        raise RunError(f"{folder} exists and holds {few(found)}; continue that run with --resume true, or choose another --run_dir.")
    last = folder / "checkpoints" / "last.ckpt"
    return str(last) if last.is_file() else None


def report_changes(checkpoint: str, config: str) -> None:
    """Print in what the configuration differs from that of the checkpoint; the configuration is what counts."""
    for line in changed_since(read_checkpoint(checkpoint), config):
        print(f"not as in the checkpoint: {line}", file=sys.stderr)


@contextmanager
def short_errors() -> Iterator[None]:
    """What users can mend ends the program with one sentence; the traceback is shown with MM_TRACEBACK=1. A polite stop keeps its exit code."""
    try:
        yield
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except (CheckpointError, RunError, NonFinite, ValueError, OSError) as error:
        if os.environ.get("MM_TRACEBACK"):
            traceback.print_exc()
        sys.exit(f"error: {error}")
