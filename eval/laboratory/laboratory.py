"""The whole experiment: train every arm with every seed, ask all of them the same questions, compare each with its control."""
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from eval.frame.benchmark import Row
from eval.frame.result import finite, write
from eval.laboratory.activations import activations
from eval.laboratory.arms import ARMS
from eval.laboratory.comparing import Comparison, compare, judged
from eval.laboratory.files import LABORATORY
from eval.laboratory.mass import picture_mass
from eval.laboratory.measures import MEASURES
from eval.laboratory.questions import Questions, ask
from eval.laboratory.rules import NOT_TRIED, READS, RULES, RuleFile
from eval.laboratory.seeing import seeing
from eval.laboratory.training import ROOT, Budget, Fit, program, run_dir, train
from eval.report.run import Filed, lines
from mm.versions import revision, versions

CURVE = ("step", "loss", "accuracy")
MOVED = 1e-5  # nats, well above what is rounded away
BySeed = Sequence[Mapping[str, Filed]]  # benchmark -> result, for each seed


@dataclass(frozen=True)
class Laboratory:
    """out: where everything goes; what is done there is not done again. budget, questions: the same for all. seeds: each trains every arm once.
    fit: runs `train.py`. say: told what begins."""

    out: Path
    budget: Budget
    questions: Questions
    seeds: tuple[int, ...] = (0, 1, 2)
    fit: Fit = program
    say: Callable[[str], None] = print

    def run(self) -> Row:
        """Everything that there is to know, as plain JSON values; also written to `out`/laboratory.json. ValueError where `out` holds the work of
        other settings."""
        self._settle()
        started = time.monotonic()
        for seed in self.seeds:
            for arm in ARMS:
                self.say(f"training {arm.name}, seed {seed}")
                train(self.out, arm, seed, self.budget, self.fit)
        answers = {arm.name: self._ask(arm.name) for arm in ARMS}
        ruled = {rule.name: self._ask(READS, rule) for rule in RULES}
        found = {**self._setting(answers, ruled), **self._findings(answers, ruled), "seconds": round(time.monotonic() - started, 1)}
        write(self.out / LABORATORY, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        return found

    def _settle(self) -> None:
        """Answers of one setting must not be compared with those of another."""
        path, now = self.out / "settings.json", {"budget": asdict(self.budget), "questions": asdict(self.questions)}
        self.out.mkdir(parents=True, exist_ok=True)
        if path.is_file() and (before := json.loads(path.read_text(encoding="utf-8"))) != now:
            raise ValueError(f"{self.out} holds work made with {before}, and now {now} is asked for; give another directory")
        write(path, json.dumps(now, indent=1) + "\n")

    def _ask(self, arm: str, rule: RuleFile | None = None) -> BySeed:
        self.say(f"asking {arm}" + (f" under {rule.name}" if rule else ""))
        return [ask(self.questions, run_dir(self.out, arm, seed), ROOT / rule.file if rule else None) for seed in self.seeds]

    def _setting(self, answers: Mapping[str, BySeed], ruled: Mapping[str, BySeed]) -> Row:
        """What produced it."""
        made = {**answers, **ruled}
        return {
            "seeds": list(self.seeds), "settings": {"budget": asdict(self.budget), "questions": asdict(self.questions)},
            "arms": [asdict(arm) for arm in ARMS], "reads": READS, "not_tried": NOT_TRIED,
            "rules": [{**asdict(rule), **yaml.safe_load((ROOT / rule.file).read_text(encoding="utf-8"))} for rule in RULES],
            "n": {name: sum(filed.result.n for of_seed in found for filed in of_seed.values()) for name, found in made.items()},
            "unparsed": {name: sum(filed.result.unparsed for of_seed in found for filed in of_seed.values()) for name, found in made.items()},
            "config": {arm.name: (run_dir(self.out, arm.name, self.seeds[0]) / "config.yaml").read_text(encoding="utf-8") for arm in ARMS},
            "versions": dict(versions()), "revision": revision()}

    def _findings(self, answers: Mapping[str, BySeed], ruled: Mapping[str, BySeed]) -> Row:
        trained = [(arm.name, arm.control) for arm in ARMS if arm.control]
        reading = [run_dir(self.out, READS, seed) for seed in self.seeds]
        return finite({
            "trained": [asdict(each) for each in family(trained, answers)],
            "training_free": [asdict(each) for each in family([(rule.name, READS) for rule in RULES], {**answers, **ruled})],
            "effects": {name: effect(answers[READS], found) for name, found in ruled.items()},
            "activations": [asdict(each) for each in activations(reading)],
            "seeing": {arm.name: asdict(seeing(run_dir(self.out, arm.name, self.seeds[0]))) for arm in ARMS},
            "picture_mass": {arm.name: picture_mass([run_dir(self.out, arm.name, seed) for seed in self.seeds]) for arm in ARMS},
            "curves": {arm.name: [curve(run_dir(self.out, arm.name, seed)) for seed in self.seeds] for arm in ARMS}})


def family(pairs: Sequence[tuple[str, str]], answers: Mapping[str, BySeed]) -> list[Comparison]:
    """Every measure of every (lever, control), corrected together."""
    found = []
    for lever, control in pairs:
        for measure in MEASURES:
            before, after = ([of_seed[measure.benchmark].rows for of_seed in answers[name]] for name in (control, lever))
            found.append(compare(lever, control, measure, before, after))
    return judged(found, MEASURES)


def effect(before: BySeed, after: BySeed) -> Row:
    """Whether a rule did anything: shares of POPE's answers whose probability it moved, and which it changed."""
    rows = [pair for one, other in zip(before, after, strict=True) for pair in zip(one["pope"].rows, other["pope"].rows, strict=True)]
    moved = sum(any(abs(b["logp"][text] - a["logp"][text]) > MOVED for text in a["logp"]) for a, b in rows)
    return {"moved": moved / len(rows), "changed": sum(a["answer"] != b["answer"] for a, b in rows) / len(rows), "n": len(rows)}


def curve(run: Path) -> list[Row]:
    """Steps, loss and share of answer tokens right of a run, as it was logged."""
    return [{key: row[key] for key in CURVE} for row in lines(run / "metrics.jsonl") if all(row.get(key) is not None for key in CURVE)]
