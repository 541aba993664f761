"""The whole experiment: train every arm with every seed on short clips, ask all of them about clips of that length and of another."""
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eval.__main__ import evaluate, parse
from eval.clips.arms import ARMS
from eval.clips.cost import Cost, cost
from eval.frame.benchmark import Row
from eval.frame.model import Model
from eval.frame.result import Result, finite, write
from eval.laboratory.arms import Arm
from eval.laboratory.comparing import compare, judged
from eval.laboratory.measures import Measure, every
from eval.laboratory.training import ROOT, Fit, is_trained, program, run_dir
from eval.report.run import Filed
from mm.versions import revision, versions

CONFIG = "configs/laboratory/clips.yaml"
FILE = "clips.json"


@dataclass(frozen=True)
class Budget:
    """What every arm gets: short_steps on clips of two frames, where shapes are soon found, then steps on clips of `frames`. later: the length of
    clips that it has never seen and is asked about as well. size: test clips of each length."""

    steps: int = 800
    short_steps: int = 600
    frames: int = 6
    later: int = 24
    size: int = 1000


@dataclass(frozen=True)
class Experiment:
    """out: where everything goes; what is done there is not done again. seeds: each trains every arm once. fit: runs `train.py`. say: told what
    begins."""

    out: Path
    budget: Budget
    arms: tuple[Arm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    fit: Fit = program
    say: Callable[[str], None] = print

    def run(self) -> Row:
        """Everything that there is to know, as plain JSON values; also written to `out`/clips.json. ValueError where `out` holds the work of another
        budget."""
        self._settle()
        started = time.monotonic()
        for seed in self.seeds:
            for arm in self.arms:
                self._train(arm, seed)
        answers = {(arm.name, frames): [self._ask(arm, seed, frames) for seed in self.seeds] for arm in self.arms for frames in self._lengths}
        found = finite({
            "arms": [asdict(arm) for arm in self.arms], "seeds": self.seeds, "budget": asdict(self.budget), "config": CONFIG,
            "levels": [self._level(arm, frames, answers[arm.name, frames]) for arm in self.arms for frames in self._lengths],
            "comparisons": comparisons(self.arms, self._lengths, answers), "costs": {arm.name: asdict(self._cost(arm)) for arm in self.arms},
            "versions": dict(versions()), "revision": revision(), "seconds": round(time.monotonic() - started, 1)})
        write(self.out / FILE, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        return found

    @property
    def _lengths(self) -> tuple[int, int]:
        return self.budget.frames, self.budget.later

    def _settle(self) -> None:
        """Answers under one budget must not be compared with those under another."""
        path, now = self.out / "settings.json", asdict(self.budget)
        self.out.mkdir(parents=True, exist_ok=True)
        if path.is_file() and (before := json.loads(path.read_text(encoding="utf-8"))) != now:
            raise ValueError(f"{self.out} holds work made with {before}, and now {now} is asked for; give another directory")
        write(path, json.dumps(now, indent=1) + "\n")

    def _train(self, arm: Arm, seed: int) -> None:
        short = f"{arm.name}-short"
        for name, frames, steps, after in ((short, 2, self.budget.short_steps, None), (arm.name, self.budget.frames, self.budget.steps, short)):
            folder = run_dir(self.out, name, seed)
            if not is_trained(folder):
                self.say(f"training {name}, seed {seed}")
                self.fit(self._arguments(arm, seed, folder, frames, steps, run_dir(self.out, after, seed) if after else None))

    def _arguments(self, arm: Arm, seed: int, folder: Path, frames: int, steps: int, after: Path | None) -> list[str]:
        options = {"run_dir": folder, "resume": "true", "seed_everything": seed, "data.seed": seed, "data.train.init_args.frames": frames,
                   "trainer.max_steps": steps, "model.schedule.init_args.warmup": max(1, steps // 12), "checkpoints.every": max(1, steps // 2),
                   **({"model.init_from": after} if after else {})}
        return ["fit", *(word for config in (CONFIG, *arm.overlays) for word in ("--config", str(ROOT / config))),
                *(word for name, value in options.items() for word in (f"--{name}", str(value)))]

    def _ask(self, arm: Arm, seed: int, frames: int) -> Filed:
        run = run_dir(self.out, arm.name, seed)
        path = run / "eval" / f"frames-{frames}" / "order.json"
        if not path.is_file():
            self.say(f"asking {arm.name}, seed {seed}, about clips of {frames} frames")
            given = ["--model", str(run), "--order.size", str(self.budget.size), "--order.frames", str(frames), "--out", str(path.parent)]
            options, benchmarks = parse(("order",), given)
            evaluate("order", benchmarks["order"], Model(options.model, options.lever, options.device, options.batch_size), options)
        return Filed(path, Result.load(path))

    def _level(self, arm: Arm, frames: int, found: Sequence[Filed]) -> Row:
        """Accuracy over all seeds and in each, and how often the answer is one of the two shapes, whatever their order."""
        scores = [filed.result.scores for filed in found]
        return {"arm": arm.name, "frames": frames, "accuracy": float(np.mean([score["accuracy"]["value"] for score in scores])),
                "by_seed": [score["accuracy"]["value"] for score in scores], "named": float(np.mean([score["named"]["value"] for score in scores])),
                "n": sum(filed.result.n for filed in found), "unparsed": sum(filed.result.unparsed for filed in found)}

    def _cost(self, arm: Arm) -> Cost:
        return cost(run_dir(self.out, arm.name, self.seeds[0]), self.budget.frames)


def comparisons(arms: Sequence[Arm], lengths: Sequence[int], answers: Mapping[tuple[str, int], Sequence[Filed]]) -> list[Row]:
    """Each arm against its control, where both are among the answers, on clips of each length; corrected together."""
    measure = Measure("order/accuracy", "order", every, lambda row: (float(row["correct"]), 1.0))
    found, lengths_of = [], []
    for arm in arms:
        for frames in lengths:
            if arm.control is not None and (before := answers.get((arm.control, frames))) is not None:
                rows = ([filed.rows for filed in of_arm] for of_arm in (before, answers[arm.name, frames]))
                found.append(compare(arm.name, arm.control, measure, *rows))
                lengths_of.append(frames)
    return [{"frames": frames, **asdict(each)} for frames, each in zip(lengths_of, judged(found, [measure]), strict=True)]
