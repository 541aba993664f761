"""What the heads got right, and which differences are more than chance."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.frame.paired import holm
from eval.laboratory.crossed import crossed
from eval.probing.heads import Blocks, Both, Efficient, GlobalAndLocal, Linear, Paired
from eval.probing.training import Trained

ALPHA = 0.05
MEASURES = ("both", "shape", "colour")
PAIRS = ((Efficient, Linear), (Blocks, Efficient), (GlobalAndLocal, Blocks), (Paired, Blocks), (Both, Blocks))  # each against its control


def sums(runs: Sequence[Trained], measure: str) -> np.ndarray:
    """[seeds, pictures, 2]: right or not, and one."""
    right = np.stack([run.right.numpy() for run in runs])
    chosen = right.all(-1) if measure == "both" else right[..., ("shape", "colour").index(measure)]
    return np.stack([chosen, np.ones_like(chosen)], -1).astype(np.float64)


def levels(found: Sequence[Mapping[str, Trained]]) -> dict[str, dict[str, Any]]:
    """Of each head: the share of pictures right by measure with its 95 % interval over pictures and seeds, each seed's, parameters and seconds."""
    table: dict[str, dict[str, Any]] = {}
    for name, first in found[0].items():
        row: dict[str, Any] = {"parameters": first.parameters, "seconds": [round(run[name].seconds, 1) for run in found]}
        for measure in MEASURES:
            counted = sums([run[name] for run in found], measure)
            nothing = np.stack([np.zeros_like(counted[..., 0]), counted[..., 1]], -1)
            estimate = crossed(nothing, counted)
            row[measure] = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "by_seed": counted[..., 0].mean(1).tolist()}
        table[name] = row
    return table


def differences(found: Sequence[Mapping[str, Trained]]) -> list[dict[str, Any]]:
    """Every pair by every measure with a 95 % interval over pictures and seeds, corrected together (Holm 1979)."""
    rows: list[dict[str, Any]] = []
    for head, control in PAIRS:
        for measure in MEASURES:
            before, after = (sums([run[kind.name] for run in found], measure) for kind in (control, head))
            estimate = crossed(before, after)
            rows.append({"head": head.name, "control": control.name, "measure": measure, "value": estimate.value, "low": estimate.low,
                         "high": estimate.high, "p": estimate.p})
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"], row["significant"] = p, p <= ALPHA
    return rows
