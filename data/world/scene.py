"""A scene: everything there is to know about one picture of the world."""
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from data.world.vocabulary import CONTEXTS, a

CANVAS, GRID = 64, 4
CELL = CANVAS // GRID
RADII = (5, 6, 7)  # px


@dataclass(frozen=True)
class SceneObject:
    """One coloured shape in one cell of the 4 × 4 grid.

    cell: 0 .. 15, row by row. size: index into `RADII`. visibility: opacity in (0, 1]. shift: (down, right) in px from the middle of the cell.
    """

    shape: str
    colour: str
    cell: int
    size: int
    visibility: float
    shift: tuple[int, int] = (0, 0)

    @property
    def row(self) -> int:
        return self.cell // GRID

    @property
    def col(self) -> int:
        return self.cell % GRID

    @property
    def pair(self) -> tuple[str, str]:
        return self.shape, self.colour

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Background:
    """What lies behind the objects. context: index into `CONTEXTS`, it fixes base colour and texture. frequency: rad/px. phase: rad.
    tint: departure of (R, G, B) from the base colour, in grey levels."""

    context: int
    frequency: float
    phase: float
    tint: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Ground truth of one picture. objects: in order of generation. grain: deviation of the pixel noise, in grey levels. noise: its seed."""

    background: Background
    objects: tuple[SceneObject, ...]
    grain: float
    noise: int

    @property
    def context(self) -> str:
        return CONTEXTS[self.background.context]

    @property
    def present(self) -> tuple[str, ...]:
        """Distinct shapes, in order of generation: the object list of POPE and CHAIR."""
        return tuple(dict.fromkeys(thing.shape for thing in self.objects))

    @property
    def caption(self) -> str:
        """All objects, in reading order of their cells: "there is a red star , an orange ring ." """
        return caption(self.objects)

    def with_object(self, index: int, thing: SceneObject) -> "Scene":
        """The same scene with another object in place of object `index`."""
        return replace(self, objects=(*self.objects[:index], thing, *self.objects[index + 1:]))

    def describe(self) -> dict[str, Any]:
        """The scene as plain JSON values; `Scene.of` reads it back."""
        return {"context": self.context, "caption": self.caption, "present": list(self.present), **asdict(self)}

    @staticmethod
    def of(record: dict[str, Any]) -> "Scene":
        """The scene that `describe` (or a JSON file with its values) told of."""
        behind = record["background"]
        return Scene(
            background=Background(behind["context"], behind["frequency"], behind["phase"], tuple(behind["tint"])),
            objects=tuple(SceneObject(**{**thing, "shift": tuple(thing["shift"])}) for thing in record["objects"]),
            grain=record["grain"], noise=record["noise"])

    @property
    def hash(self) -> str:
        """Fingerprint of the ground truth, equal on every machine."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()[:16]


def caption(objects: tuple[SceneObject, ...]) -> str:
    if not objects:
        return "there is no object ."
    return f"there is {' , '.join(a(thing.name) for thing in sorted(objects, key=lambda thing: thing.cell))} ."
