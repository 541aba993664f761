"""Training an arm: one `train.py fit` in a directory of its own, resumed where it was, skipped where it is done."""
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.laboratory.arms import Arm

ROOT = Path(__file__).resolve().parents[2]
Fit = Callable[[Sequence[str]], None]  # runs `train.py` with these arguments, raises RuntimeError where it fails


@dataclass(frozen=True)
class Budget:
    """What every arm gets. config: the base configuration. steps: of training; tune_steps: of an arm that goes on from another. batch_size: samples
    a step; rows of one question, about half as long, come twice as many a step. precision: one for all, whatever is fastest at the moment."""

    config: str = "configs/demo.yaml"
    steps: int = 400
    tune_steps: int = 100
    batch_size: int = 16
    precision: str = "32-true"


def run_dir(out: Path, arm: str, seed: int) -> Path:
    return out / "runs" / f"{arm}-seed{seed}"


def arguments(out: Path, arm: Arm, seed: int, budget: Budget) -> list[str]:
    """Of `train.py` for one run. The seed draws the weights and the order of the samples; all arms of a seed share both."""
    steps = budget.tune_steps if arm.after else budget.steps
    options = {
        "run_dir": run_dir(out, arm.name, seed), "resume": "true", "threads": 1, "seed_everything": seed, "data.seed": seed, "data.workers": 0,
        "data.batch_size": 2 * budget.batch_size if arm.after else budget.batch_size, "model.schedule.warmup": max(1, steps // 10),
        "trainer.precision": budget.precision, "trainer.max_steps": steps, "trainer.limit_val_batches": 0,  # the questions come afterwards
        "journal.every": max(1, steps // 25), "checkpoints.every": max(1, steps // 4)}
    if arm.after:
        options["model.init_from"] = run_dir(out, arm.after, seed)
    configs = (str(ROOT / config) for config in (budget.config, *arm.overlays))
    return ["fit", *(word for config in configs for word in ("--config", config)), *(word for name, value in options.items()
                                                                                   for word in (f"--{name}", str(value)))]


def is_trained(folder: Path) -> bool:
    """The model is exported last."""
    return (folder / "model" / "model.safetensors").is_file()


def train(out: Path, arm: Arm, seed: int, budget: Budget, fit: Fit) -> Path:
    """The run directory, trained unless it was."""
    folder = run_dir(out, arm.name, seed)
    if not is_trained(folder):
        fit(arguments(out, arm, seed, budget))
    return folder


def program(words: Sequence[str]) -> None:
    """`train.py` in a process of its own, on one thread. RuntimeError with the end of what it printed where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run([sys.executable, str(ROOT / "train.py"), *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"python train.py {' '.join(words)} ended with status {ended.returncode}: {(ended.stdout + ended.stderr).strip()[-2000:]}")
