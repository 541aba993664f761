"""A model of ours as lmms-eval wants one: it hands over requests, and gets texts and log-probabilities."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult, Instance
from lmms_eval.api.model import lmms

from mm.clients.questioned import Question, Questioned
from mm.clients.settings import Settings
from mm.clients.speaking import device_of


@dataclass(frozen=True)
class Generate:
    """What a request of generate_until holds, in its order."""

    context: str
    settings: Mapping[str, Any]
    show: Any
    doc_id: int
    task: str
    split: str


@dataclass(frozen=True)
class Score:
    """Of loglikelihood. answer: text, or what makes it of the document."""

    context: str
    answer: Any
    show: Any
    doc_id: int
    task: str
    split: str


@dataclass(frozen=True)
class Rounds:
    """Of generate_until_multi_round. next: what asks the next round."""

    context: str
    settings: Mapping[str, Any]
    show: Any
    next: Any
    doc_id: int
    task: str
    split: str


@dataclass
class Talk:
    """A document, the answers of its rounds, and what the task remembers."""

    asked: Rounds
    said: list[str] = field(default_factory=list)
    memory: Any = None
    rounds: int = 0

    def next(self, doc: Any, text: str) -> tuple[Any, str, bool]:
        """Visuals and context of the next round, and whether there is none, after the answer `text`; the task may replace the answers."""
        self.said.append(text)
        self.rounds += 1
        visuals, context, is_over, said, self.memory = self.asked.next(
            doc, previous_output=self.said, round_idx=self.rounds, previous_round_info=self.memory)
        self.said = list(said)
        return visuals, context, is_over


Request = Generate | Score | Rounds


class MM(lmms):  # type: ignore[misc]
    """--model mm --model_args run=runs/demo,lever=configs/lever/cca.yaml --batch_size 16 --device cuda

    run: run directory, directory that VLM.save wrote, or directory of a pretrained model. lever, dtype, lora: as of `python -m eval`. frames: of a
    clip. batch_size and device have options of their own. Pictures stand in front of a text that does not place them by <image>.
    """

    def __init__(self, run: str, lever: str | None = None, frames: int = 16, dtype: str | None = None, lora: str | None = None,
                 batch_size: int | str = 1, max_batch_size: int | None = None, device: str | None = None) -> None:
        super().__init__()
        if not str(batch_size).isdecimal() or not int(batch_size):
            raise ValueError(f"--batch_size {batch_size}: give a whole number, 1 or more; it is not found by trying")
        self.model = Questioned(run, lever, int(batch_size), device or "cpu", frames, dtype, lora)

    @property
    def device(self) -> torch.device:
        return device_of(self.model.vlm)

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        asked = [Generate(*request.args) for request in requests]
        return self.model.generate([self._question(each) for each in asked], [Settings.of(each.settings) for each in asked])

    def loglikelihood(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """The NEGATIVE log-probability of each answer, and whether greedy decoding gives it.

        The interface documents the log-probability, but version 0.7.3 takes the smallest number for the choice, as its own adapters return losses;
        and it turns a bare pair into a string, which its own scoring cannot read. A GenerationResult passes. Its acc_mutual_info takes the largest
        difference, so with losses it would be wrong: ValueError for its requests, which have no picture.
        """
        if any(len(request.args) != len(fields(Score)) for request in requests):
            raise ValueError("acc_mutual_info cannot be given: lmms-eval 0.7 reads the same numbers as losses in acc and as log-probabilities there; "
                             "leave it out of the task's metric_list")
        asked = [Score(*request.args) for request in requests]
        answers = [str(each.answer(self._doc(each)) if callable(each.answer) else each.answer) for each in asked]
        return [GenerationResult((-logp, is_greedy)) for logp, is_greedy in self.model.score([self._question(each) for each in asked], answers)]

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[list[str]]:
        """Each round is a question of its own; what the next one asks, and what is kept of the answers so far, the task says."""
        talks = [Talk(Rounds(*request.args)) for request in requests]
        questions = [self._question(talk.asked) for talk in talks]
        settings = [Settings.of(talk.asked.settings) for talk in talks]
        going = list(range(len(talks)))
        while going:
            texts = self.model.generate([questions[i] for i in going], [settings[i] for i in going])
            asked, going = going, []
            for i, text in zip(asked, texts, strict=True):
                visuals, context, is_over = talks[i].next(self._doc(talks[i].asked), text)
                if not is_over:
                    questions[i] = Question(questions[i].id, context, partial(_given, visuals))
                    going.append(i)
        return [talk.said for talk in talks]

    def _doc(self, asked: Request) -> Any:
        return self.task_dict[asked.task][asked.split][asked.doc_id]

    def _question(self, asked: Request) -> Question:
        """visuals are read from the document when the question is answered, so that those of a whole data set are never held at once."""
        show = asked.show
        return Question(f"{asked.task}/{asked.doc_id}", asked.context, partial(_given, None) if show is None else lambda: show(self._doc(asked)))


def _given(visuals: Any) -> Any:
    return visuals
