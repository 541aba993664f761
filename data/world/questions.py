"""Questions about a scene, each a yes/no question that is as often true as false.

For every kind, the label is drawn first and the question second, and a scene is asked a kind only if it can host both labels. Distractors differ from
what is there in one respect, so neither the words nor the kind give the answer away; what remains is the prior that the world's biases create.
"""
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

from data.world.draws import Draws
from data.world.mix import Mix
from data.world.sampling import World, draw_scene
from data.world.scene import Scene, SceneObject
from data.world.splits import PAIRS, Pair, Split
from data.world.vocabulary import COLOURS, NO, NUMBERS, SHAPES, YES, a

KEEP_SHAPE = 0.6  # share of false pairs that are the right shape in another colour
DEPTHS = (2, 3)  # terms of a conjunction


@dataclass(frozen=True)
class Question:
    """task: the kind of question, a field of `Mix`. text: lower-case words with single spaces."""

    task: str
    text: str
    truth: bool

    @property
    def answer(self) -> str:
        return YES if self.truth else NO


class Inventory:
    """What questions need to know of a scene, counted once. names: pairs that questions may name."""

    def __init__(self, scene: Scene, names: frozenset[Pair]) -> None:
        self.scene = scene
        self.names = names
        self.counts = Counter(thing.shape for thing in scene.objects)

    @cached_property
    def unique(self) -> list[SceneObject]:
        """Objects whose shape occurs once, so that "the star" is one star."""
        return [thing for thing in self.scene.objects if self.counts[thing.shape] == 1]

    @cached_property
    def absent(self) -> list[str]:
        return [shape for shape in SHAPES if shape not in self.counts]

    @cached_property
    def pairs(self) -> set[Pair]:
        return {thing.pair for thing in self.scene.objects}

    @cached_property
    def named(self) -> list[Pair]:
        """Distinct pairs of the scene that may be named, in order of generation."""
        return [pair for pair in dict.fromkeys(thing.pair for thing in self.scene.objects) if pair in self.names]

    def false_pair(self, near: Pair, draws: Draws) -> Pair:
        """A pair that may be named and is not there: mostly the shape of `near` in another colour, else any."""
        if draws.unit() < KEEP_SHAPE:
            recoloured = [(near[0], colour) for colour in COLOURS if (near[0], colour) in self.names and (near[0], colour) not in self.pairs]
            if recoloured:
                return draws.pick(recoloured)
        while True:
            pair = draws.pick(PAIRS)
            if pair in self.names and pair not in self.pairs:
                return pair


class Task(ABC):
    """A kind of question."""

    @abstractmethod
    def possible(self, inventory: Inventory) -> bool:
        """Whether the scene can be asked this both ways, truly and falsely."""

    @abstractmethod
    def ask(self, inventory: Inventory, truth: bool, draws: Draws) -> str:
        """The text of a question whose answer is `truth`. Only for scenes where it is possible."""


class Existence(Task):
    """ "is there a star ?" Absent shapes are uniform: with co-occurrence in the scenes, this is what creates the prior."""

    def possible(self, inventory: Inventory) -> bool:
        return 0 < len(inventory.counts) < len(SHAPES)

    def ask(self, inventory: Inventory, truth: bool, draws: Draws) -> str:
        return f"is there {a(draws.pick(list(inventory.counts) if truth else inventory.absent))} ?"


class ColouredShape(Task):
    """ "is there a red star ?" """

    def possible(self, inventory: Inventory) -> bool:
        return bool(inventory.named)

    def ask(self, inventory: Inventory, truth: bool, draws: Draws) -> str:
        pair = draws.pick(inventory.named)
        return f"is there {phrase(pair if truth else inventory.false_pair(pair, draws))} ?"


class Attribute(Task):
    """ "is the star red ?", of shapes that occur once; the distractor is another colour."""

    def possible(self, inventory: Inventory) -> bool:
        return any(thing.pair in inventory.names for thing in inventory.unique)

    def ask(self, inventory: Inventory, truth: bool, draws: Draws) -> str:
        thing = draws.pick([thing for thing in inventory.unique if thing.pair in inventory.names])
        if truth:
            return f"is the {thing.shape} {thing.colour} ?"
        others = [colour for colour in COLOURS if colour != thing.colour and (thing.shape, colour) in inventory.names]
        return f"is the {thing.shape} {draws.pick(others)} ?"


class Number(Task):
    """ "are there two ring objects ?" (exactly two). Of two counts that occur in the scene, one is said, and a shape with the one or the other named:
    each number word is then true as often as false. Asked of any scene, "one" would nearly always be right, for most shapes occur once."""

    def possible(self, inventory: Inventory) -> bool:
        return len({count for count in inventory.counts.values() if count <= len(NUMBERS)}) > 1

    def ask(self, inventory: Inventory, truth: bool, draws: Draws) -> str:
        said, other = draws.sample(sorted({count for count in inventory.counts.values() if count <= len(NUMBERS)}), 2)
        shape = draws.pick([shape for shape, count in inventory.counts.items() if count == (said if truth else other)])
        return f"is there one {shape} object ?" if said == 1 else f"are there {NUMBERS[said - 1]} {shape} objects ?"


class Relation(Task):
    """ "is the star left of the ring ?", of two shapes that occur once; the distractor is the opposite direction."""

    def possible(self, inventory: Inventory) -> bool:
        return len(inventory.unique) > 1

    def ask(self, inventory: Inventory, truth: bool, draws: Draws) -> str:
        first, second = draws.sample(inventory.unique, 2)
        across, down = second.col - first.col, second.row - first.row
        if across and (not down or draws.unit() < 0.5):
            relation = "left of" if (across > 0) == truth else "right of"
        else:
            relation = "above" if (down > 0) == truth else "below"
        return f"is the {first.shape} {relation} the {second.shape} ?"


class Conjunction(Task):
    """ "is there a red star and a blue ring ?", with two or three terms; exactly one is wrong where the answer is no."""

    def possible(self, inventory: Inventory) -> bool:
        return len(inventory.named) >= DEPTHS[0]

    def ask(self, inventory: Inventory, truth: bool, draws: Draws) -> str:
        terms = draws.sample(inventory.named, min(draws.pick(DEPTHS), len(inventory.named)))
        if not truth:
            wrong = draws.below(len(terms))
            terms[wrong] = inventory.false_pair(terms[wrong], draws)
        return f"is there {' and '.join(map(phrase, terms))} ?"


TASKS: dict[str, Task] = {
    "existence": Existence(), "pair": ColouredShape(), "attribute": Attribute(),
    "number": Number(), "relation": Relation(), "conjunction": Conjunction()}


def phrase(pair: Pair) -> str:
    """A pair with its article: "a red star"."""
    return a(f"{pair[1]} {pair[0]}")


def ask(scene: Scene, names: frozenset[Pair], weights: dict[str, float], count: int, draws: Draws) -> list[Question]:
    """`count` questions; none where the scene can host no kind that has weight. A text that was asked already is tried again a few times."""
    inventory = Inventory(scene, names)
    kinds = [task for task, weight in weights.items() if weight > 0 and TASKS[task].possible(inventory)]
    if not kinds:
        return []
    shares = [weights[task] for task in kinds]
    asked: list[Question] = []
    texts: set[str] = set()
    for _ in range(count):
        task = kinds[draws.weighted(shares)]
        truth = draws.unit() < 0.5
        for _ in range(4):  # the label stays: drawing it anew would favour the label that has more different questions
            text = TASKS[task].ask(inventory, truth, draws)
            if text not in texts:
                break
        texts.add(text)
        asked.append(Question(task, text, truth))
    return asked


@lru_cache(maxsize=64)
def odds(mix: Mix, world: World, split: Split, scenes: int = 1500) -> dict[str, float]:
    """Weights with which `ask` meets the shares of `mix` over scenes of this world, though not every scene can host every kind.

    Found by iterating over the patterns of possible kinds in `scenes` scenes of a stream of their own. A kind that fewer than a few scenes can host
    gets what it can.
    """
    shares = {task: share / sum(mix.shares().values()) for task, share in mix.shares().items() if share > 0}
    patterns: Counter[tuple[str, ...]] = Counter()
    draws = Draws(split.stream, 2**32 - 1)
    for _ in range(scenes):
        inventory = Inventory(draw_scene(world, split, draws), split.names)
        patterns[tuple(task for task in shares if TASKS[task].possible(inventory))] += 1
    weights = dict(shares)
    for _ in range(20):
        reached = dict.fromkeys(shares, 0.0)
        for pattern, times in patterns.items():
            total = sum(weights[task] for task in pattern)
            for task in pattern:
                reached[task] += times / scenes * weights[task] / total
        weights = {task: min(weights[task] * shares[task] / max(reached[task], 1e-9), 1e3) for task in shares}
    return weights
