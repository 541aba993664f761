"""What a search over rules makes large: a number that a model earns on a calibration set (`mm.models.Samples` or `mm.models.Prompts`)."""
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from mm.models.questions import Questions, digest
from mm.reweight import Rule


class Objective(Protocol):
    """What a search asks for; a larger number is better."""

    layers: int
    heads: int

    def __call__(self, rules: Sequence[Rule]) -> float: ...

    def describe(self) -> dict[str, Any]: ...


class Accuracy:
    """Share of questions whose right answer is the likeliest: the supervised objective.

    answers: first token of each question's answer, as `vlm.processor.first_id(text)` gives it. candidates: tokens among which the model chooses; the
    whole vocabulary if None. ValueError for as many answers as there are no questions, and for an answer that is no candidate.
    """

    def __init__(self, questions: Questions, answers: Sequence[int], candidates: Sequence[int] | None = None) -> None:
        count = questions.describe()["n"]
        if len(answers) != count:
            raise ValueError(f"Accuracy has {len(answers)} answers to {count} questions; give one to each")
        if candidates is not None and (wrong := [answer for answer in answers if answer not in candidates]):
            raise ValueError(f"Accuracy: the answer {wrong[0]} is none of the candidates {list(candidates)}; give the first token of each answer")
        self.questions, self.answers, self.candidates = questions, answers, candidates
        self.layers, self.heads = questions.layers, questions.heads

    def __call__(self, rules: Sequence[Rule]) -> float:
        logits = chosen(self.questions.logits(rules), self.candidates)
        said = logits.argmax(1).tolist()
        return sum((index if self.candidates is None else self.candidates[index]) == answer
                   for index, answer in zip(said, self.answers, strict=True)) / len(said)

    def describe(self) -> dict[str, Any]:
        right = digest([repr(list(self.answers)).encode()])
        return {"objective": "accuracy", **self.questions.describe(), "answers": right, "candidates": self.candidates and list(self.candidates)}


class Certainty:
    """Minus the mean entropy of the answers, in nats: the unsupervised objective, which knows no answer.

    candidates: tokens among which the model chooses; the whole vocabulary if None. A certain model need not be right.
    """

    def __init__(self, questions: Questions, candidates: Sequence[int] | None = None) -> None:
        self.questions, self.candidates = questions, candidates
        self.layers, self.heads = questions.layers, questions.heads

    def __call__(self, rules: Sequence[Rule]) -> float:
        log = chosen(self.questions.logits(rules), self.candidates).double().log_softmax(1)
        return float((log.exp() * log).sum(1).mean())

    def describe(self) -> dict[str, Any]:
        return {"objective": "certainty", **self.questions.describe(), "candidates": self.candidates and list(self.candidates)}


def chosen(logits: Tensor, candidates: Sequence[int] | None) -> Tensor:
    return logits if candidates is None else logits[:, list(candidates)]
