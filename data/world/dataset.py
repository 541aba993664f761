"""Scenes as a data set: each item a picture, its caption, and questions about it."""
from torch.utils.data import Dataset

from data.world.caption import caption_turn
from data.world.draws import Draws
from data.world.mix import Mix
from data.world.questions import Question, ask, odds
from data.world.render import render
from data.world.sampling import World, draw_scene
from data.world.scene import Scene
from data.world.splits import Name, split_of
from mm.sample import Media, Sample, Turn


class Scenes(Dataset[Sample]):
    """Map-style: item i is a function of (seed, split, i) alone, so no worker or rank repeats another, and a longer set begins as a shorter one.

    Args:
        split: "train", "val", "test"; or "systematic" (questions on colour-shape pairs that training never shows), "distractor" (eight objects),
            "productive" (conjunctions).
        size: number of scenes. seed: below 2^32.
        questions: questions a scene, after the caption turn. A scene that can be asked nothing of the mix has its caption only.
        mix: shares of the question kinds; None for what the split is made for.
        caption_weight: factor on the loss of caption tokens.
        world: the law of the scenes.
    """

    def __init__(self, split: Name = "train", size: int = 100_000, seed: int = 0, questions: int = 8, mix: Mix | None = None,
                 caption_weight: float = 0.5, world: World | None = None) -> None:
        if size < 0 or questions < 0:
            raise ValueError(f"Scenes: size and questions are counts, got size={size}, questions={questions}")
        self.split = split
        self.size = size
        self.seed = seed
        self.questions = questions
        self.mix = mix
        self.caption_weight = caption_weight
        self.world = world or World()
        self.law = split_of(split)

    def __len__(self) -> int:
        return self.size

    def scene(self, index: int) -> Scene:
        """Ground truth of item `index`."""
        return draw_scene(self.world, self.law, self._draws(index))

    def asked(self, index: int) -> list[Question]:
        """The questions of item `index`, with their truth."""
        return self._item(index)[1]

    def __getitem__(self, index: int) -> Sample:
        scene, asked = self._item(index)
        turns = [Turn(question.text, question.answer, task=question.task) for question in asked]
        return Sample(self.name(index), (Media(render(scene)[None]),), (caption_turn(scene, self.caption_weight), *turns))

    def name(self, index: int) -> str:
        """The item's id: it says how to make it again."""
        return f"scene-{self.split}-{self.seed}-{index}"

    def _item(self, index: int) -> tuple[Scene, list[Question]]:
        draws = self._draws(index)
        scene = draw_scene(self.world, self.law, draws)
        weights = odds(self.mix or self.law.mix, self.world, self.law)
        return scene, ask(scene, self.law.names, weights, self.questions, draws)

    def _draws(self, index: int) -> Draws:
        if not 0 <= index < self.size:
            raise IndexError(f"scene {index} of the {self.split} split, which has {self.size}")
        return Draws(self.seed, self.law.stream, index)
