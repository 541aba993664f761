"""Test questions of one kind, balanced exactly: every scene that can host the kind is asked it once truly and once falsely."""
from dataclasses import dataclass

from data.world.dataset import Scenes
from data.world.draws import Draws, Purpose
from data.world.questions import TASKS, Inventory, Question


@dataclass(frozen=True)
class Row:
    """A question about scene `scene` of a data set."""

    scene: int
    question: Question


def question_set(scenes: Scenes, task: str) -> list[Row]:
    """Two rows for each scene that can be asked `task`, a field of `Mix`; a function of the scenes alone, whatever else is asked of them.

    The split says which colour-shape pairs are named: `question_set(Scenes("systematic", ...), "pair")` asks for pairs never seen in training.
    """
    if task not in TASKS:
        raise ValueError(f"the world has no question kind {task!r}; it has {', '.join(TASKS)}")
    rows = []
    for index in range(len(scenes)):
        inventory = Inventory(scenes.scene(index), scenes.law.names)
        if TASKS[task].possible(inventory):
            draws = Draws(scenes.seed, scenes.law.stream, index, Purpose.QUESTION_SET)
            rows += [Row(index, Question(task, TASKS[task].ask(inventory, truth, draws), truth)) for truth in (True, False)]
    return rows
