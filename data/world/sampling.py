"""The distribution of scenes: contexts with home shapes (co-occurrence), typical colours, repeats, ambiguous visibility."""
from dataclasses import dataclass
from functools import cache

from data.world.draws import Draws
from data.world.scene import CELL, GRID, RADII, Background, Scene, SceneObject
from data.world.splits import EVERY, SPLITS, Pair, Split
from data.world.vocabulary import COLOURS, SHAPES

HOME = tuple(tuple(SHAPES[s] for s in home) for home in ((0, 1, 2, 3), (3, 4, 5, 6), (6, 7, 8, 9), (9, 10, 11, 0)))  # neighbours share one
TYPICAL = {shape: COLOURS[3 * s % 8] for s, shape in enumerate(SHAPES)}
TRIES = 20  # for a shape that the scene does not have yet


@dataclass(frozen=True)
class World:
    """The law that scenes follow. Its biases are what a model can fall back on when it does not look.

    contexts: probability of each background. home: probability that a new object's shape comes from the background's home shapes (co-occurrence).
    repeat: probability that an object repeats a shape. typical: probability that it has its shape's typical colour.
    objects: (least, most) in a scene. visibility: range of opacities. tint: deviation of a background's colour, grain: of the pixel noise,
    both in grey levels. jitter: largest distance of an object from the middle of its cell, in px (a harder mode). shapes, colours: those that
    occur; a background without home shapes among them draws from all of them. cells: where objects may lie. every_pair: training too may show the
    pairs of shape and colour that are otherwise held out. sizes: that occur, indices into `RADII`.
    """

    contexts: tuple[float, float, float, float] = (0.4, 0.3, 0.2, 0.1)
    home: float = 0.85
    repeat: float = 0.12
    typical: float = 0.4
    objects: tuple[int, int] = (2, 5)
    visibility: tuple[float, float] = (0.35, 1.0)
    tint: float = 10.0
    grain: float = 12.0
    jitter: int = 0
    shapes: tuple[str, ...] = SHAPES
    colours: tuple[str, ...] = COLOURS
    cells: tuple[int, ...] = tuple(range(GRID * GRID))
    every_pair: bool = False
    sizes: tuple[int, ...] = tuple(range(len(RADII)))

    def __post_init__(self) -> None:
        unknown = [word for word in (*self.shapes, *self.colours) if word not in SHAPES + COLOURS]
        if unknown or not self.shapes or not self.colours:
            raise ValueError(f"a world's shapes are among {', '.join(SHAPES)}, its colours among {', '.join(COLOURS)}, at least one of each; "
                             f"got shapes={tuple(self.shapes)} and colours={tuple(self.colours)}")
        lost = [shape for shape in self.shapes if not any((shape, colour) in self.shows(SPLITS["train"]) for colour in self.colours)]
        if lost:
            raise ValueError(f"training never shows {lost[0]!r} in {' or '.join(self.colours)}; add a colour, or leave the shape out")
        if len({*self.cells} & {*range(GRID * GRID)}) < len(self.cells):
            raise ValueError(f"cells are numbers from 0 to {GRID * GRID - 1}, each once; got {tuple(self.cells)}")
        if not self.sizes or len({*self.sizes} & {*range(len(RADII))}) < len(self.sizes):
            raise ValueError(f"sizes are numbers from 0 to {len(RADII) - 1}, each once; got {tuple(self.sizes)}")
        if not 1 <= self.objects[0] <= self.objects[1] <= len(self.cells):
            raise ValueError(f"a scene holds 1 to {len(self.cells)} objects, at most one a cell; got objects={self.objects}")
        if not 0 < self.visibility[0] <= self.visibility[1] <= 1:
            raise ValueError(f"visibility is a range of opacities in (0, 1]; got {self.visibility}")
        if not 0 <= self.jitter <= CELL // 2 - RADII[0]:
            raise ValueError(f"jitter is 0 to {CELL // 2 - RADII[0]} px, or objects would leave their cells; got {self.jitter}")

    def shows(self, split: Split) -> frozenset[Pair]:
        """Pairs that a scene of the split may hold."""
        return EVERY if self.every_pair else split.shows


def draw_scene(world: World, split: Split, draws: Draws) -> Scene:
    """One scene of the split, a function of the stream alone."""
    while True:
        scene = _draw(world, split, draws)
        if not split.needs_named or any(thing.pair in split.names for thing in scene.objects):
            return scene


def _draw(world: World, split: Split, draws: Draws) -> Scene:
    background = draw_background(world, draws.weighted(world.contexts), draws)
    least, most = split.objects or world.objects
    shapes: list[str] = []
    for _ in range(least + draws.below(most - least + 1)):
        shapes.append(draw_shape(world, background.context, shapes, draws))
    cells = draws.sample(world.cells, len(shapes))
    objects = tuple(
        SceneObject(shape, draw_colour(world, shape, split, draws), cell, draws.pick(world.sizes), draws.between(*world.visibility),
                    draw_shift(world, draws))
        for shape, cell in zip(shapes, cells, strict=True))
    return Scene(background, objects, world.grain, draws.below(2**32))


def draw_background(world: World, context: int, draws: Draws) -> Background:
    red, green, blue = (draws.normal() * world.tint for _ in range(3))
    return Background(context, draws.between(0.25, 0.45), draws.between(0, 6.283185307179586), (red, green, blue))


def draw_shape(world: World, context: int, used: list[str], draws: Draws) -> str:
    if used and draws.unit() < world.repeat:
        return draws.pick(used)
    for _ in range(TRIES):
        home = draws.unit() < world.home
        shape = draws.pick(homes(world.shapes)[context] if home else world.shapes)
        if shape not in used:
            break
    return shape


@cache
def homes(shapes: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Home shapes of each background among `shapes`."""
    return tuple(tuple(shape for shape in home if shape in shapes) or shapes for home in HOME)


def draw_colour(world: World, shape: str, split: Split, draws: Draws) -> str:
    while True:
        colour = TYPICAL[shape] if draws.unit() < world.typical else draws.pick(world.colours)
        if (shape, colour) in world.shows(split) and colour in world.colours:
            return colour


def draw_shift(world: World, draws: Draws) -> tuple[int, int]:
    if world.jitter == 0:
        return 0, 0
    span = 2 * world.jitter + 1
    return draws.below(span) - world.jitter, draws.below(span) - world.jitter
