"""The procedural world as benchmarks see it: pictures by number, their truth, and how the world asks."""
from dataclasses import dataclass

from data.world import Scene, Scenes, question_set
from data.world import vocabulary as words
from data.world.questions import Question
from data.world.render import render
from data.world.splits import Name
from eval.text.synonyms import Synonyms
from mm.sample import Media

EXISTENCE_QUESTION = "is there a {} ?"
CAPTION_QUESTION = words.DESCRIBE
SYNONYMS = Synonyms(line.split(", ") for line in words.SYNONYMS)


@dataclass(frozen=True)
class Picture:
    """A scene with its place in the split. Pixels are drawn when asked for."""

    name: str
    number: int
    scene: Scene

    @property
    def shapes(self) -> tuple[str, ...]:
        """Distinct shapes, in order of generation."""
        return self.scene.present

    def media(self) -> tuple[Media, ...]:
        return (Media(render(self.scene)[None]),)

    def context(self) -> tuple[Media, ...]:
        """The background alone: what a model can guess from, without seeing an object."""
        return (Media(render(self.scene, objects=False)[None]),)


def pictures(size: int, split: Name = "test", seed: int = 0) -> list[Picture]:
    """The first `size` scenes of a split."""
    scenes = Scenes(split, size, seed)
    return [Picture(scenes.name(i), i, scenes.scene(i)) for i in range(size)]


def asked(task: str, size: int, split: Name = "test", seed: int = 0) -> list[tuple[Picture, Question]]:
    """Questions of one kind about the first `size` scenes of a split: each that can be asked it is asked it once truly and once falsely."""
    scenes = pictures(size, split, seed)
    return [(scenes[row.scene], row.question) for row in question_set(Scenes(split, size, seed), task)]
