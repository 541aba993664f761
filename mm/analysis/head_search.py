"""In which heads a rule helps: the search of Yu et al., "Unveiling and Harnessing Hidden Attention Sinks" (ACT), ICML 2024.

The rule is tried in each head of each layer alone, on a calibration set, and a head is chosen if the score rises. What was found is a file that says
how, from which a search that was interrupted goes on.
"""
import json
import os
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from math import isclose
from pathlib import Path
from typing import Any

import yaml

from mm.analysis.objective import Objective
from mm.parts import build, describe
from mm.reweight import ACT, Rule, ZeroTuning

Head = tuple[int, int]  # (layer, head)
HeadRule = ACT | ZeroTuning
FORMAT = 1


@dataclass
class HeadProfile:
    """What a rule earns in each head alone.

    rule: its description, heads apart. objective: what was made large, and on what. plain: the score without the rule. scores: of each head that has
    been tried. together: the score with all chosen heads at once, None until every head has been tried.
    """

    rule: dict[str, Any]
    objective: dict[str, Any]
    plain: float
    scores: dict[Head, float] = field(default_factory=dict)
    together: float | None = None

    @property
    def heads(self) -> list[Head]:
        """The heads in which the score rises, those in which it rises most first; of equals the earlier one."""
        return sorted((head for head, score in self.scores.items() if score > self.plain), key=lambda head: (-self.scores[head], head))

    def best(self, count: int | None = None) -> Rule:
        """The rule in the `count` best heads, in all that help if None. ValueError where none does."""
        if not self.heads:
            raise ValueError(f"{self.rule['class_path']} raises the score {self.plain:.4f} in none of the {len(self.scores)} heads tried, so there "
                             "is no head to use it in; change its parameters, or do without it")
        rule: HeadRule = build(self.rule)
        return in_heads(rule, self.heads[:count])

    def save(self, path: str | Path) -> None:
        """As JSON; a reader never sees half a file."""
        scores = [[*head, score] for head, score in sorted(self.scores.items())]
        write(Path(path), json.dumps({"format": FORMAT, "rule": self.rule, "objective": self.objective, "plain": self.plain, "scores": scores,
                                      "heads": [list(head) for head in self.heads], "together": self.together}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "HeadProfile":
        """ValueError where the file is none that `save` wrote."""
        said = read(Path(path))
        try:
            scores = {(int(layer), int(head)): float(score) for layer, head, score in said["scores"]}
            return cls(said["rule"], said["objective"], said["plain"], scores, said["together"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not the profile of a head search ({error!r}); give a file that HeadProfile.save wrote") from error


def search_heads(objective: Objective, rule: HeadRule, path: str | Path | None = None,
                 progress: Callable[[int, int], None] = lambda done, total: None) -> HeadProfile:
    """Tries `rule` in each head alone and then in all that help at once: layers x heads + 2 readings of the calibration set.

    rule: `ACT(...)` or `ZeroTuning(...)` without heads, tried in the layers in which it acts. path: file that is written after each head and, where
    it exists, gone on from; ValueError where it holds another search. The model is left as it was.
    """
    if rule.heads is not None:
        raise ValueError(f"{rule!r} has heads already; search with a rule for all heads")
    rule = copy(rule)
    rule.bind(objective.layers, objective.heads)
    profile = HeadProfile(without_heads(rule), objective.describe(), objective([]))
    if path is not None and Path(path).exists():
        profile = resumed(profile, Path(path))
    layers = [layer for layer in range(objective.layers) if rule.applies(layer)]
    places = [(layer, head) for layer in layers for head in range(objective.heads)]
    for done, place in enumerate(places, 1):
        if place not in profile.scores:
            profile.scores[place] = objective([in_heads(rule, [place])])
            if path is not None:
                profile.save(path)
        progress(done, len(places))
    if profile.together is None:
        profile.together = objective([profile.best()]) if profile.heads else profile.plain
        if path is not None:
            profile.save(path)
    return profile


def resumed(begun: HeadProfile, path: Path) -> HeadProfile:
    """The profile in the file. ValueError where it is of another rule, calibration set or model."""
    found = HeadProfile.load(path)
    for name in ("rule", "objective"):
        if getattr(found, name) != getattr(begun, name):
            raise ValueError(f"{path} holds a search with another {name}: {getattr(found, name)}, and now it is {getattr(begun, name)}; "
                             "give another path, or delete the file")
    if not isclose(found.plain, begun.plain, rel_tol=1e-4, abs_tol=1e-6):
        raise ValueError(f"{path} holds a search on another model: its score without the rule was {found.plain:.6f}, and now it is "
                         f"{begun.plain:.6f}; give another path, or delete the file")
    return found


def in_heads(rule: HeadRule, heads: list[Head]) -> HeadRule:
    """The same rule in these heads only."""
    rule = copy(rule)
    rule.heads = heads
    return rule


def without_heads(rule: HeadRule) -> dict[str, Any]:
    said = describe(rule)
    return said | {"init_args": {name: value for name, value in said["init_args"].items() if name != "heads"}}


def lever(rule: Rule, comment: str = "") -> str:
    """YAML as in configs/lever, for `python -m eval --lever` and `python train.py --config`. comment: its first line, what was searched and how."""
    said = yaml.safe_dump({"model": {"reweight": [describe(rule)]}}, sort_keys=False, default_flow_style=None, width=150)
    return "".join(f"# {line}\n" for line in comment.splitlines()) + said


def read(path: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not the result of a search: {error}") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ValueError(f"{path} is not the result of a search of format {FORMAT}; give a file that a search wrote")
    return said


def write(path: Path, text: str) -> None:
    """Replaces a file in one step."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
