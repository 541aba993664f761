"""Visual in-context episodes: Chen et al., "True Multimodal In-Context Learning Needs Attention to the Visual Context" (TrueMICL, DARA), 2025.

A few pictures are labelled with nonsense words by a rule that is new in each episode; the query picture is to be labelled likewise. All
demonstrations say the same text but for the label, so the rule is in their pictures only.
"""
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from data.world.caption import with_image
from data.world.draws import Draws, Purpose
from data.world.render import blank_image, render
from data.world.sampling import World, draw_background
from data.world.scene import GRID, RADII, Scene, SceneObject
from data.world.splits import Name, Split
from data.world.view import View
from data.world.vocabulary import COLOURS, CONTEXTS, NAME, NONSENSE, SHAPES
from mm.sample import Media, Sample, Turn

Control = Literal["none", "blank", "shuffled", "wordless"]
Kind = tuple[int, int, int, int]  # values of the four attributes

ATTRIBUTES = {"colour": COLOURS, "shape": SHAPES, "size": RADII, "context": CONTEXTS}


@dataclass(frozen=True)
class Demonstration:
    scene: Scene
    label: str


@dataclass(frozen=True)
class Episode:
    """attribute: the one that decides. rule: nonsense word of each of its two values. answer: the query's label.
    shown: which demonstration's picture stands at each demonstration's place; 0, 1, ... unless shuffled."""

    attribute: str
    rule: dict[str, str]
    demonstrations: tuple[Demonstration, ...]
    query: Scene
    answer: str
    shown: tuple[int, ...]


class Episodes(View):
    """One question each: demonstrations and query as one interleaved prompt of several pictures.

    Other attributes never decide instead: demonstrations come in pairs that differ in the deciding attribute only. Labels are balanced within the
    demonstrations, the query's label is independent of the last one's: copying gives 50 %.

    Args:
        split, size, seed: as in `Scenes`. demos: numbers of demonstrations that occur, even ones.
        control: "blank" (demonstration pictures black), "shuffled" (demonstration pictures in random order) or "wordless" (no text at the
            demonstrations): each keeps the episode otherwise as it is, and nobody can then do better than 50 %. Accuracy minus that under "blank"
            is what a model has truly learnt from the pictures.
        world: the law of the scenes; each picture holds a single object, better visible than usual.
    """

    kind = "episode"
    purpose = Purpose.EPISODE

    def __init__(self, split: Name = "train", size: int = 20_000, seed: int = 0, demos: tuple[int, ...] = (2, 4), control: Control = "none",
                 world: World | None = None) -> None:
        if not demos or any(count < 2 or count % 2 for count in demos):
            raise ValueError(f"Episodes: demonstrations come in pairs, so demos holds even numbers from 2; got {demos}")
        if control not in get_args(Control):
            raise ValueError(f"Episodes: no control {control!r}; there are {', '.join(get_args(Control))}")
        super().__init__(split, size, seed, world or World(visibility=(0.7, 1.0)))
        self.demos = demos
        self.control = control

    def episode(self, index: int) -> Episode:
        """Ground truth of item `index`."""
        draws = self.draws(index)
        episode = draw_episode(self.world, self.law, draws.pick(self.demos), draws)
        if self.control == "shuffled":
            return replace(episode, shown=tuple(draws.sample(episode.shown, len(episode.shown))))
        return episode

    def __getitem__(self, index: int) -> Sample:
        episode = self.episode(index)
        pictures = [render(episode.demonstrations[k].scene) if self.control != "blank" else blank_image() for k in episode.shown]
        media = tuple(Media(picture[None]) for picture in (*pictures, render(episode.query)))
        texts = [with_image("" if self.control == "wordless" else f"{NAME} {shown.label}\n") for shown in episode.demonstrations]
        return Sample(self.name(index), media, (Turn("".join(texts) + with_image(NAME), episode.answer, task="episode"),))

    def truth(self, index: int) -> dict[str, Any]:
        episode = self.episode(index)
        return {
            "id": self.name(index), "control": self.control, "attribute": episode.attribute, "rule": episode.rule,
            "demonstrations": [{"label": shown.label, **shown.scene.describe()} for shown in episode.demonstrations],
            "shown": list(episode.shown), "query": episode.query.describe(), "answer": episode.answer}


def draw_episode(world: World, split: Split, demos: int, draws: Draws) -> Episode:
    decides = draws.below(len(ATTRIBUTES))
    attribute = list(ATTRIBUTES)[decides]
    values = draws.sample(range(len(ATTRIBUTES[attribute])), 2)
    words = draws.sample(NONSENSE, 2)
    shown: list[Demonstration] = []
    for _ in range(demos // 2):
        for word, kind in zip(words, draw_twins(decides, values, split, draws), strict=True):
            shown.append(Demonstration(draw_single(world, kind, draws), word))
    right = draws.below(2)
    query = draw_single(world, draw_twins(decides, values, split, draws)[right], draws)
    rule = {str(ATTRIBUTES[attribute][value]): word for value, word in zip(values, words, strict=True)}
    return Episode(attribute, rule, tuple(draws.sample(shown, demos)), query, words[right], tuple(range(demos)))


def draw_twins(decides: int, values: list[int], split: Split, draws: Draws) -> list[Kind]:
    """Two kinds of picture that differ in one attribute only, both of which the split may show."""
    while True:
        base = [draws.below(len(domain)) for domain in ATTRIBUTES.values()]
        twins = [kind_of(base, decides, value) for value in values]
        if all((SHAPES[kind[1]], COLOURS[kind[0]]) in split.shows for kind in twins):
            return twins


def kind_of(base: list[int], decides: int, value: int) -> Kind:
    colour, shape, size, context = (value if k == decides else other for k, other in enumerate(base))
    return colour, shape, size, context


def draw_single(world: World, kind: Kind, draws: Draws) -> Scene:
    """A scene of one object; what the kind does not say is random."""
    colour, shape, size, context = kind
    thing = SceneObject(SHAPES[shape], COLOURS[colour], draws.below(GRID * GRID), size, draws.between(*world.visibility))
    return Scene(draw_background(world, context, draws), (thing,), world.grain, draws.below(2**32))
