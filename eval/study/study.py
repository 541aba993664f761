"""Benchmarks on models, plain and under each arm, with what is there already left alone; then every arm against the plain model."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.compare.comparing import compared
from eval.compare.found import found
from eval.compare.runs import read_runs
from eval.frame.benchmark import Benchmark, Row
from eval.frame.evaluating import evaluate
from eval.frame.options import Options
from eval.study.arms import Arm


@dataclass(frozen=True)
class Plan:
    """models: run directories. benchmarks: by name. limit: pictures of each split. batch_size: pictures a batch. draws: of the bootstrap."""

    models: Sequence[Path]
    benchmarks: dict[str, Benchmark]
    arms: Sequence[Arm]
    out: Path
    limit: int | None = None
    batch_size: int = 16
    draws: int = 10_000


def answer(plan: Plan, say: Callable[[str], None]) -> list[tuple[str, str, str]]:
    """Every model on every benchmark, plain and under every arm. Returns (model, arm, reason) of the arms that a model refuses, and goes on. What
    stops a plain model is raised, as nothing can be held against it then."""
    from eval.frame.model import Model

    failed = []
    for home in plan.models:
        for arm in (None, *plan.arms):
            lever = None if arm is None else str(arm.file)
            options = Options(str(home), lever, limit=plan.limit, batch_size=plan.batch_size, out=str(folder(plan, home)))
            try:
                model = Model(options.model, options.lever, options.device, options.batch_size)
                for name, benchmark in plan.benchmarks.items():
                    result = evaluate(name, benchmark, model, options)
                    say(f"{home.name}, {'plain' if arm is None else arm.label}, {name}: {result.cost['seconds']:.0f} s")
            except (ValueError, TypeError) as error:  # TypeError: a lever that is not for this kind of model
                if arm is None:
                    raise
                failed.append((home.name, arm.label, str(error)))
                say(f"{home.name}, {arm.label}: {error}")
    return failed


def folder(plan: Plan, home: Path) -> Path:
    """Where a model's results go."""
    return plan.out / home.resolve().name


def compare(plan: Plan, home: Path) -> Row:
    """Every arm that has all results against the plain model, as `python -m eval compare` finds it: one family of tests a model."""
    place = folder(plan, home)
    limit = f"-limit{plan.limit}" if plan.limit else ""
    there = [arm for arm in plan.arms if all((place / f"{name}-{arm.name}{limit}.json").exists() for name in plan.benchmarks)]
    runs, remarks = read_runs([str(place), *(f"{place}:{arm.name}" for arm in there)], ["plain", *(arm.label for arm in there)])
    result: dict[str, Any] = found(runs, compared(runs, plan.draws, 0), remarks, plan.draws, 0, 0.0)
    return result
