"""Which answers the page shows: all that changed up to a limit, those with another verdict first, and samples of unparsed ones and of the rest."""
import random
from collections.abc import Sequence
from dataclasses import dataclass

from eval.compare.answers import is_parsed, is_right, split_of
from eval.compare.runs import Run
from eval.frame.benchmark import Row

REST = 0.25  # of the limit, kept for answers that did not change ...
ODD = 0.125  # ... and for those that no rule could read


@dataclass(frozen=True)
class Shown:
    """One item. rows: of each run, in order."""

    benchmark: str
    rows: tuple[Row, ...]

    @property
    def id(self) -> str:
        return str(self.rows[0]["id"])

    @property
    def split(self) -> str:
        return split_of(self.rows[0])

    def statuses(self, place: int) -> list[str]:
        """What became of the baseline's answer in run number `place`."""
        one, other = self.rows[0], self.rows[place]
        before, after = is_right(one), is_right(other)
        verdict = {(True, False): ["lost"], (False, True): ["gained"], (False, False): ["wrong"], (True, True): ["right"]}
        found = [] if before is None or after is None else verdict[before, after]
        return ["changed"] * (one["answer"] != other["answer"]) + found + ["unparsed"] * (not (is_parsed(one) and is_parsed(other)))

    @property
    def is_parsed(self) -> bool:
        return all(map(is_parsed, self.rows))

    @property
    def is_changed(self) -> bool:
        return self.rank < 2

    @property
    def rank(self) -> int:
        """0: right in one run and wrong in another; 1: another answer; 2: the same."""
        found = [self.statuses(place) for place in range(1, len(self.rows))]
        return 0 if any({"lost", "gained"} & set(each) for each in found) else 1 if any("changed" in each for each in found) else 2


@dataclass(frozen=True)
class Chosen:
    """items: to show, those with another verdict first. changed, same: how many answers changed and did not, and how many of these are shown."""

    benchmark: str
    items: tuple[Shown, ...]
    changed: tuple[int, int]
    same: tuple[int, int]


def chosen(runs: Sequence[Run], limit: int, seed: int = 0) -> list[Chosen]:
    """Of each benchmark, an equal part of `limit`. The same runs, limit and seed give the same items."""
    each = limit // max(1, len(runs[0].results))
    return [_of_benchmark(name, runs, each, random.Random(f"{seed} {name}")) for name in runs[0].results]


def _of_benchmark(name: str, runs: Sequence[Run], limit: int, rng: random.Random) -> Chosen:
    rows = [{row["id"]: row for row in run.results[name].rows} for run in runs]
    items = [Shown(name, tuple(of_run[id] for of_run in rows)) for id in rows[0]]
    shown = _some([item for item in items if not item.is_parsed], round(limit * ODD), rng)
    taken = {item.id for item in shown}
    of_rank = [[item for item in items if item.rank == rank and item.id not in taken] for rank in range(3)]
    room = limit - min(len(of_rank[2]), round(limit * REST))
    for rank in range(2):
        shown += _some(of_rank[rank], room - len(shown), rng)
    shown += _some(of_rank[2], limit - len(shown), rng)
    counts = [(sum(item.is_changed == changed for item in items), sum(item.is_changed == changed for item in shown)) for changed in (True, False)]
    return Chosen(name, tuple(sorted(shown, key=lambda item: item.rank)), *counts)


def _some(items: Sequence[Shown], count: int, rng: random.Random) -> list[Shown]:
    """A sample in the order of the items."""
    if len(items) <= count:
        return list(items)
    return [items[place] for place in sorted(rng.sample(range(len(items)), max(0, count)))]
