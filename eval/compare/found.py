"""The findings as plain JSON values: everything that the table and the page show, and what produced it."""
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from eval.compare.comparing import ALPHA, Against
from eval.compare.runs import Run
from eval.compare.same import besides, harmless, method
from eval.frame.benchmark import Row
from eval.frame.result import finite
from mm.versions import revision, versions

COST = ("tokens_per_second", "forwards_per_token", "peak_memory_mb")
FAMILY = ("accuracy of each part of a benchmark with right and wrong answers; CHAIR_s, CHAIR_i, recall and F1 of captions, whole and cut to the same "
          "length; every metric of a benchmark of another kind; each for every run but the baseline")


def found(runs: Sequence[Run], against: Against, remarks: Sequence[str], draws: int, seed: int, seconds: float) -> Row:
    """NaN is None there, as JSON has no such number."""
    tests = [each for each in against.comparisons if each.is_primary]
    return finite({
        "baseline": runs[0].name, "runs": [_run(run) for run in runs],
        "differs": [{"run": run.name, "method": [asdict(each) for each in method(runs[0], run)],
                     "besides": [asdict(each) for each in besides(runs[0], run)],
                     "harmless": [asdict(each) for each in harmless(runs[0], run)]} for run in runs[1:]],
        "family": {"what": FAMILY, "tests": len(tests), "correction": "Holm 1979", "alpha": ALPHA},
        "comparisons": [asdict(each) for each in against.comparisons], "flips": [asdict(each) for each in against.flips],
        "same_length": [asdict(each) for each in against.same_length], "remarks": [*remarks, *against.remarks], "draws": draws, "seed": seed,
        "versions": dict(versions()), "revision": revision(), "seconds": round(seconds, 3)})


def _run(run: Run) -> Row:
    return {"name": run.name, "given": run.given, "results": {
        name: {"file": str(each.path), "n": each.result.n, "unparsed": each.result.unparsed, "parser": each.result.parser,
               "settings": each.result.settings, "model": each.result.config.get("model"), "lever": each.result.lever, "cost": cost(each.result),
               "scores": each.result.scores, "remarks": each.result.remarks, "versions": each.result.versions, "revision": each.result.revision}
        for name, each in run.results.items()}}


def cost(result: object) -> dict[str, Any]:
    """What a result says of the cost of its answers; nothing in results of older versions."""
    stated = getattr(result, "cost", None)
    return dict(stated) if isinstance(stated, Mapping) else {}
