"""The findings as the Markdown tables of docs/clips.md."""
from collections.abc import Sequence

from eval.frame.benchmark import Row
from eval.report.numbers import percent


def tables(found: Row) -> str:
    """Levels with costs, and differences from the controls."""
    return f"{levels(found)}\n\n{differences(found)}\n"


def levels(found: Row) -> str:
    lengths = sorted({row["frames"] for row in found["levels"]})
    at = {(row["arm"], row["frames"]): row for row in found["levels"]}
    head = ["arm", *(f"{frames} frames" for frames in lengths), *(f"seeds, {frames} frames" for frames in lengths), "names a shape of the clip",
            "visual tokens", "clips a CPU second"]
    body = []
    for arm in found["arms"]:
        rows, spent = [at[arm["name"], frames] for frames in lengths], found["costs"][arm["name"]]
        body.append([arm["label"], *(percent(row["accuracy"]) for row in rows), *(" ".join(percent(one) for one in row["by_seed"]) for row in rows),
                     " / ".join(percent(row["named"]) for row in rows), str(spent["tokens"]), f"{spent['samples_per_second']:.0f}"])
    return markdown(head, body)


def differences(found: Row) -> str:
    """In points, with intervals over clips and seeds, and p corrected over all of them (Holm)."""
    label = {arm["name"]: arm["label"] for arm in found["arms"]}
    body = [[label[row["lever"]], label[row["control"]], str(row["frames"]), f"{100 * row['value']:+.1f}",
             f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}", f"{row['p_holm']:.3f}",
             " ".join(f"{100 * one:+.1f}" for one in row["by_seed"]), f"{row['n']:,}"]
            for row in found["comparisons"]]
    return markdown(["arm", "control", "frames", "difference", "95 % interval", "p (Holm)", "seeds", "answers"], body)


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))
