"""Multiple choice: options as lines, the verdict on an answer, and accuracies of groups of answers."""
import math
from collections.abc import Hashable, Mapping, Sequence
from string import ascii_uppercase

import numpy as np

from eval.frame.benchmark import Row
from eval.frame.intervals import Score, clustered, proportion


def letters(options: Sequence[str]) -> str:
    return ascii_uppercase[:len(options)]


def listed(options: Sequence[str]) -> str:
    """The options as lines "(A) sit"."""
    return "\n".join(f"({letter}) {option}" for letter, option in zip(letters(options), options, strict=True))


def letter_of(answer: str, options: Sequence[str], where: str) -> str:
    """Letter of the option that is the answer, the last one of equals as in the official code. ValueError where none is, or they are too many."""
    if len(options) > len(ascii_uppercase) or answer not in options:
        raise ValueError(f"{where}: the answer {answer!r} is none of the {len(options)} candidates {list(options)[:6]}; correct the file")
    return letters(options)[len(options) - 1 - list(options)[::-1].index(answer)]


def verdict(chosen: str, label: str, counted: bool = True) -> Row:
    """chosen: letters that the reader takes for chosen. counted: False where a benchmark's script leaves such an answer out of its accuracy."""
    return {"choice": chosen, "matched": len(chosen) == 1, "correct": counted and label in chosen, "counted": counted}


def accuracy(rows: Sequence[Row]) -> Score:
    """Share of right answers among those that count, as `share`."""
    counted = [row for row in rows if row["counted"]]
    return share([row["correct"] for row in counted], [row["clip"] for row in counted])


def share(hits: Sequence[bool], clips: Sequence[Hashable]) -> Score:
    """Share of answers that are hits. Wilson's interval where every clip is asked about once, else a bootstrap over clips."""
    if len(set(clips)) == len(clips):
        return proportion(sum(hits), len(hits))
    counts = np.array([[hit, 1] for hit in hits], dtype=np.float64)
    return at_the_edge(clustered(clips, counts, lambda s: s[..., 0] / s[..., 1], len(hits)), clips)


def at_the_edge(score: Score, clips: Sequence[Hashable]) -> Score:
    """Where all answers are hits or none is, every draw of a bootstrap says the same: Wilson's interval then, over clips."""
    if score.value not in (0, 1):
        return score
    edge = proportion(int(score.value) * len(set(clips)), len(set(clips)))
    return Score(score.value, edge.low, edge.high, score.n)


def mean_accuracy(groups: Mapping[str, Sequence[Row]]) -> Score:
    """Mean of the accuracies of the groups, whatever their sizes; NaN where one of them has no answer that counts.

    A clip keeps its questions of all groups together in the bootstrap, where a draw that misses a group is the mean of the others.
    """
    counted = [(index, row) for index, rows in enumerate(groups.values()) for row in rows if row["counted"]]
    if len({index for index, _ in counted}) < len(groups) or not groups:
        return Score(math.nan, math.nan, math.nan, len(counted))
    terms = np.zeros((len(counted), len(groups), 2))
    for place, (index, row) in enumerate(counted):
        terms[place, index] = row["correct"], 1

    def mean(sums: np.ndarray) -> np.ndarray:
        pairs = sums.reshape(*sums.shape[:-1], len(groups), 2)
        return np.asarray(np.nanmean(pairs[..., 0] / pairs[..., 1], -1))

    clips = [row["clip"] for _, row in counted]
    return at_the_edge(clustered(clips, terms.reshape(len(counted), -1), mean, len(counted)), clips)


def grouped(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    """Rows by their value of `key`, in order of first occurrence."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found


def unparsed(rows: Sequence[Row]) -> int:
    """Answers that name no single option."""
    return sum(not row["matched"] for row in rows)


def remarks(rows: Sequence[Row]) -> list[str]:
    """What an accuracy alone would hide: answers that pass for several options, and answers that do not count."""
    several, out = sum(len(row["choice"]) > 1 for row in rows), sum(not row["counted"] for row in rows)
    found = [f"{several} of {len(rows)} answers pass for more than one option with this parser, so they are right by luck; see --parser strict"]
    left = [f"{out} of {len(rows)} answers name no option and are left out of the accuracy, as by the script of this parser: silence raises it"]
    return found * bool(several) + left * bool(out)
