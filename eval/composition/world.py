"""Cases from scenes of the procedural world, in its own words. The counterpart of the data is our own.

Every caption of a case has the same words as far as its task allows, so the words do not give the answer away. "not" and "respectively" are no words
of the world: negation says "no" instead, half of the time rightly, and attributes have no third form.
"""
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from data.world.questions import Inventory
from data.world.scene import SceneObject, caption
from data.world.splits import split_of
from data.world.vocabulary import COLOURS, SHAPES, a
from eval.composition.case import CLASSES, Case
from eval.frame.world import Picture, pictures

T = TypeVar("T")
RELATIONS = ("left of", "right of", "above", "below")
TRIES = 50

Made = tuple[tuple[str, ...], tuple[bool, ...], tuple[str, ...], str]  # captions, labels, classes, group
ONE_RIGHT = (True, False, False, False)


def cases(size: int, seed: int) -> list[Case]:
    """Of each task, one for each of the first `size` test scenes that can host it. seed: of what is exchanged and shuffled."""
    names, found = split_of("test").names, []
    for scene in pictures(size):
        inventory = Inventory(scene.scene, names)
        for task, make in TASKS.items():
            made = make(scene, inventory, random.Random(f"{task} {seed} {scene.name}"))
            if made is not None:
                captions, labels, classes, group = made
                found.append(Case(f"{task}/{scene.name}", task, scene.name, scene.media, captions, labels, classes, group, scene.context))
    return sorted(found, key=lambda case: list(TASKS).index(case.task))


def semantic_structure(scene: Picture, inventory: Inventory, rng: random.Random) -> Made | None:
    """The scene's caption; colours and shapes in other places; the other words in other places; all of them. Articles go with what they stand before,
    so "an red" gives nothing away."""
    things = sorted(scene.scene.objects, key=lambda thing: thing.cell)
    said = caption(tuple(things)).split()
    places = [i for i, word in enumerate(said) if word not in COLOURS + SHAPES]
    for _ in range(TRIES):
        shapes, colours = _shuffled([thing.shape for thing in things], rng), _shuffled([thing.colour for thing in things], rng)
        mixed = [replace(thing, shape=shape, colour=colour) for thing, shape, colour in zip(things, shapes, colours, strict=True)]
        if {thing.pair for thing in mixed} <= inventory.pairs:  # the same objects in another order
            continue
        others = list(said)
        for place, word in zip(places, _shuffled([said[i] for i in places], rng), strict=True):
            others[place] = word
        texts = (" ".join(said), caption(tuple(mixed)), " ".join(others), " ".join(_shuffled(said, rng)))
        if len(set(texts)) == len(texts):
            return texts, ONE_RIGHT, CLASSES["semantic_structure"], ""
    return None


def negation_logic(scene: Picture, inventory: Inventory, rng: random.Random) -> Made | None:
    """ "there is a star ." and "there is no star .", of a shape that is there in every second scene, else of an absent one."""
    present = scene.number % 2 == 0
    shapes = list(inventory.counts) if present else inventory.absent
    if not shapes:
        return None
    shape = rng.choice(shapes)
    return (f"there is {a(shape)} .", f"there is no {shape} ."), (present, not present), ("affirmed", "negated"), "present" if present else "absent"


def attribute_ownership(scene: Picture, inventory: Inventory, rng: random.Random) -> Made | None:
    """Two objects, and the same with their colours exchanged. All four pairs are seen in training."""
    things = [thing for thing in scene.scene.objects if thing.pair in inventory.names]
    for one, other in _pairs(things, rng):
        exchanged = replace(one, colour=other.colour), replace(other, colour=one.colour)
        new = {thing.pair for thing in exchanged}
        if one.shape != other.shape and one.colour != other.colour and new <= inventory.names and not new & inventory.pairs:
            return (caption((one, other)), caption(exchanged)), (True, False), CLASSES["attribute_ownership"][:2], ""
    return None


def relationship_composition(scene: Picture, inventory: Inventory, rng: random.Random) -> Made | None:
    """ "the star is left of the ring .", the two shapes exchanged, and both without a relation."""
    for one, other in _pairs(inventory.unique, rng):
        relation = rng.choice([name for name, holds in zip(RELATIONS, _holds(one, other), strict=True) if holds])
        texts = (f"the {one.shape} is {relation} the {other.shape} .", f"the {other.shape} is {relation} the {one.shape} .",
                 f"the {one.shape} and the {other.shape} .")
        return texts, ONE_RIGHT[:3], CLASSES["relationship_composition"], relation.replace(" ", "_")
    return None


def spatial_relations(scene: Picture, inventory: Inventory, rng: random.Random) -> Made | None:
    """All four relations of two shapes; one or two of them hold."""
    for one, other in _pairs(inventory.unique, rng):
        texts = tuple(f"the {one.shape} is {relation} the {other.shape} ." for relation in RELATIONS)
        return texts, _holds(one, other), tuple(relation.replace(" ", "_") for relation in RELATIONS), ""
    return None


TASKS: dict[str, Callable[[Picture, Inventory, random.Random], Made | None]] = {
    make.__name__: make for make in (semantic_structure, negation_logic, attribute_ownership, relationship_composition, spatial_relations)}


def _holds(one: SceneObject, other: SceneObject) -> tuple[bool, ...]:
    """Whether each of `RELATIONS` does. In different cells at least one does."""
    return one.col < other.col, one.col > other.col, one.row < other.row, one.row > other.row


def _pairs(things: Sequence[SceneObject], rng: random.Random) -> list[tuple[SceneObject, SceneObject]]:
    """All ordered pairs of two objects, in random order."""
    return _shuffled([(one, other) for one in things for other in things if one is not other], rng)


def _shuffled(values: Sequence[T], rng: random.Random) -> list[T]:
    return rng.sample(list(values), len(values))
