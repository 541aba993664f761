"""The embedded world: coloured shapes on textured backgrounds with complete ground truth, made on the fly from a seed.

`Scenes` for captions and questions, `Episodes` for learning in context, `Clips` for order in time, `Edits` for before and after, `Subjects` for
drawing after a picture. `question_set` makes balanced test questions of one kind. `python -m data.world.export` writes any of them to files,
`python -m data.world.sheet` draws a contact sheet.
"""
from data.world.clips import Clip, Clips
from data.world.dataset import Scenes
from data.world.edits import Edit, Edits
from data.world.episodes import Episode, Episodes
from data.world.mix import Mix
from data.world.questions import Question
from data.world.render import blank_image, render
from data.world.sampling import World
from data.world.scene import Scene, SceneObject
from data.world.sets import Row, question_set
from data.world.subjects import Subject, Subjects
from data.world.vocabulary import SYNONYMS, WORDS

__all__ = ["Scenes", "Episodes", "Clips", "Edits", "World", "Mix", "Scene", "SceneObject", "Episode", "Clip", "Edit", "Subject", "Subjects",
           "Question", "Row", "question_set", "render", "blank_image", "SYNONYMS", "WORDS"]
