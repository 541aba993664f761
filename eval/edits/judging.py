"""What became of an edit in the world, by exact recognition: no learned judge, every figure is counted in pixels or objects."""
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from data.world.caption import by_column
from data.world.edits import Edit
from data.world.scene import CELL
from eval.frame.benchmark import Row


class Thing(Protocol):
    """A recognised object. row, col: of its middle, in px. mask: [H, W], its coverage in [0, 1]."""

    @property
    def shape(self) -> str: ...

    @property
    def colour(self) -> str: ...

    @property
    def row(self) -> float: ...

    @property
    def col(self) -> float: ...

    @property
    def mask(self) -> np.ndarray: ...


class Recogniser(Protocol):
    """A picture → all the objects that it shows, however many."""

    def __call__(self, picture: np.ndarray, /) -> Sequence[Thing]: ...


def judge(source: np.ndarray, edited: np.ndarray, edit: Edit, recognise: Recogniser) -> Row:
    """One edit: source and edited picture, uint8 [H, W, 3]. Objects are right by shape and colour, and places as far as the caption speaks of them.

    source_right: the source shows the objects of its caption, no other, and in the relation that it says; without that nothing else is judged, and
    only it is in the row.
    edit_recognised: the edited picture shows an object of the new shape and colour that is none of the others.
    other_kept: share of the other objects that are still there with shape and colour, where they were (their masks overlap).
    other_mse: mean squared error of pixels in [0, 1] within the other objects. background_mse: where neither picture shows an object.
    target_iou: of the object's masks before and after; 0 where no object is left that it could have become.
    recoloured: share of the object's old mask where an object of the new colour is now; None unless the colour changes.
    A figure of no pixels or objects is None. Figures are the definitions of this project (its specification leaves them open).
    """
    if source.shape != edited.shape:
        raise ValueError(f"source and edited picture have one size; got {source.shape[:2]} and {edited.shape[:2]}")
    old, new = edit.before.objects[edit.index], edit.after.objects[edit.index]
    before, after = list(recognise(source)), list(recognise(edited))
    if Counter(map(pair, before)) != Counter(thing.pair for thing in edit.before.objects) or not related(before, edit):
        return {"source_right": False}
    target = next(thing for thing in before if pair(thing) == old.pair)
    others = [thing for thing in before if thing is not target]
    kept, rest = matched(others, after)
    candidates = [thing for thing in after if pair(thing) == new.pair] or rest
    became = max(candidates, key=lambda thing: iou(target, thing), default=None)
    error = np.square((source.astype(np.float64) - edited) / 255).mean(-1)
    return {
        "source_right": True,
        "edit_recognised": any(pair(thing) == new.pair for thing in rest),
        "other_kept": kept / len(others) if others else None,
        "other_mse": within(error, covered(others, error.shape)),
        "background_mse": within(error, ~covered([*before, *after], error.shape)),
        "target_iou": iou(target, became) if became is not None else 0.0,
        "recoloured": recoloured(target, after, new.colour) if edit.attribute == "colour" else None}


def pair(thing: Thing) -> tuple[str, str]:
    return thing.shape, thing.colour


def related(before: Sequence[Thing], edit: Edit) -> bool:
    """Whether two recognised objects lie to each other as the caption says, if it does: in one column, or one left of the other."""
    if edit.form != "relation":
        return True
    first, second = (thing.pair for thing in by_column(edit.before.objects))
    one, other = sorted(before, key=lambda thing: thing.col)
    above = edit.before.objects[0].col == edit.before.objects[1].col
    if (other.col - one.col < CELL / 2) != above:
        return False
    if above:
        one, other = sorted(before, key=lambda thing: thing.row)
    return (pair(one), pair(other)) == (first, second)


def matched(others: Sequence[Thing], after: Sequence[Thing]) -> tuple[int, list[Thing]]:
    """How many of `others` are still where they were, and the objects that are none of them. Each stands for one."""
    kept, rest = 0, list(after)
    for thing in others:
        alike = [one for one in rest if pair(one) == pair(thing) and iou(one, thing) > 0]
        if alike:
            kept += 1
            best = max(alike, key=lambda one: iou(one, thing))
            rest = [one for one in rest if one is not best]
    return kept, rest


def solid(thing: Thing) -> np.ndarray:
    """Pixels that are at least half covered."""
    return np.asarray(thing.mask) >= 0.5


def covered(things: Sequence[Thing], shape: tuple[int, ...]) -> np.ndarray:
    """Pixels that any of them touches."""
    return np.any([np.asarray(thing.mask) > 0 for thing in things] or [np.zeros(shape, bool)], axis=0)


def iou(first: Thing, second: Thing) -> float:
    a, b = solid(first), solid(second)
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 0.0


def recoloured(target: Thing, after: Sequence[Thing], colour: str) -> float | None:
    old = solid(target)
    new = np.any([solid(thing) for thing in after if thing.colour == colour] or [np.zeros_like(old)], axis=0)
    return float(new[old].mean()) if old.any() else None


def within(error: np.ndarray, where: np.ndarray) -> float | None:
    return float(error[where].mean()) if where.any() else None
