"""How much and in which heads to scale the first token: the search of Han et al., "ZeroTuning: Unlocking the Initial Token's Power to Enhance Large
Language Models Without Training", 2025.

Some heads answer better with more attention to the first token ("up"), others with less ("down"). Both are profiled with one factor each, head by
head; then factors above 1 are tried in all up-heads, those below 1 in all down-heads. The paper takes the side with more heads, from a third party's
account, unverified; that the better side wins is our choice. The objective is `Accuracy`, or without answers `Certainty`.
"""
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mm.analysis.head_search import FORMAT, HeadProfile, in_heads, read, search_heads, write
from mm.analysis.objective import Objective
from mm.reweight import ZeroTuning

GAMMAS = (0.2, 0.4, 0.6, 0.8, 1.25, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class GammaSearch:
    """up, down: heads with a factor above and below 1. grid: score of each factor, in all heads of its side at once; factors without heads are left
    out.
    """

    up: HeadProfile
    down: HeadProfile
    grid: dict[float, float]

    @property
    def plain(self) -> float:
        return self.up.plain

    @property
    def gamma(self) -> float:
        """The best factor; of equals that nearest to 1, which itself stands for "nothing helps"."""
        return max([1.0, *self.grid], key=lambda gamma: (self.grid.get(gamma, self.plain), -abs(gamma - 1.0)))

    def best(self) -> ZeroTuning:
        """The rule that was found. ValueError where no factor raises the score."""
        if self.gamma == 1.0:
            tried = ", ".join(map(str, self.grid)) or "(no heads)"
            raise ValueError(f"ZeroTuning raises the score {self.plain:.4f} with none of the factors {tried}; do without it")
        return tuned(self.up, self.down, self.gamma)

    def save(self, path: str | Path) -> None:
        write(Path(path), json.dumps({"format": FORMAT, "objective": self.up.objective, "plain": self.plain, "gamma": self.gamma,
                                      "grid": [[gamma, score] for gamma, score in sorted(self.grid.items())]}, indent=1) + "\n")


def search_gamma(objective: Objective, up: float = 1.5, down: float = 0.6, gammas: Sequence[float] = GAMMAS, folder: str | Path | None = None,
                 progress: Callable[[int, int], None] = lambda done, total: None) -> GammaSearch:
    """2 (layers x heads + 2) + len(gammas) readings of the calibration set.

    up, down: factors of the two profiles. folder: where `up.json` and `down.json` are written after each head and gone on from, and `gamma.json` at
    the end. ValueError for factors on the wrong side of 1, and for a folder that holds another search.
    """
    if not down < 1.0 < up:
        raise ValueError(f"search_gamma: up is above 1 and down below; got up={up} and down={down}")
    place = None if folder is None else Path(folder)
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
    above = search_heads(objective, ZeroTuning(up), place and place / "up.json", progress)
    below = search_heads(objective, ZeroTuning(down), place and place / "down.json", progress)
    known = read(place / "gamma.json")["grid"] if place is not None and (place / "gamma.json").exists() else []
    grid = {gamma: score for gamma, score in known if gamma in gammas}
    for gamma in gammas:
        if gamma != 1.0 and gamma not in grid and (above if gamma > 1.0 else below).heads:
            grid[gamma] = objective([tuned(above, below, gamma)])
    found = GammaSearch(above, below, grid)
    if place is not None:
        found.save(place / "gamma.json")
    return found


def tuned(up: HeadProfile, down: HeadProfile, gamma: float) -> ZeroTuning:
    """The factor in all heads of its side."""
    rule = in_heads(ZeroTuning(gamma), (up if gamma > 1.0 else down).heads)
    assert isinstance(rule, ZeroTuning)
    return rule
