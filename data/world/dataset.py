"""Scenes as a data set: each item a picture, its caption, and questions about it."""
from dataclasses import asdict
from typing import Any

from data.world.caption import caption_turn
from data.world.draws import Purpose
from data.world.mix import Mix
from data.world.questions import Question, ask, odds
from data.world.render import render
from data.world.sampling import World, draw_scene
from data.world.scene import Scene
from data.world.splits import Name
from data.world.view import View
from mm.sample import Media, Sample, Turn


class Scenes(View):
    """Pictures with a caption turn and question turns.

    Args:
        split: "train", "val", "test"; or "systematic" (questions on colour-shape pairs that training never shows), "distractor" (eight objects),
            "productive" (conjunctions).
        size: number of scenes. seed: below 2^32.
        questions: questions a scene, after the caption turn. A scene that can be asked nothing of the mix has its caption only.
        mix: shares of the question kinds; None for what the split is made for.
        caption_weight: factor on the loss of caption tokens.
        world: the law of the scenes.
    """

    kind = "scene"
    purpose = Purpose.SCENE

    def __init__(self, split: Name = "train", size: int = 100_000, seed: int = 0, questions: int = 8, mix: Mix | None = None,
                 caption_weight: float = 0.5, world: World | None = None) -> None:
        if questions < 0:
            raise ValueError(f"Scenes: questions is the number of questions a scene, 0 or more; got {questions}")
        super().__init__(split, size, seed, world)
        self.questions = questions
        self.mix = mix
        self.caption_weight = caption_weight

    def scene(self, index: int) -> Scene:
        """Ground truth of item `index`."""
        return draw_scene(self.world, self.law, self.draws(index))

    def item(self, index: int) -> tuple[Scene, list[Question]]:
        """Ground truth of item `index`, and its questions."""
        draws = self.draws(index)
        scene = draw_scene(self.world, self.law, draws)
        weights = odds(self.mix or self.law.mix, self.world, self.law)
        return scene, ask(scene, self.law.names, weights, self.questions, draws)

    def __getitem__(self, index: int) -> Sample:
        scene, asked = self.item(index)
        turns = [Turn(question.text, question.answer, task=question.task) for question in asked]
        return Sample(self.name(index), (Media(render(scene)[None]),), (caption_turn(scene, self.caption_weight), *turns))

    def truth(self, index: int) -> dict[str, Any]:
        scene, asked = self.item(index)
        return {"id": self.name(index), **scene.describe(), "questions": [asdict(question) for question in asked]}
