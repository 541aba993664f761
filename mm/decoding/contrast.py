"""Contrast decoding: logits of the prompts set against those of a branch, a second reading of the same answer behind other prompts.

What VCD, ICD, PAI's guidance, M3ID, AGLA and ONLY have in common: `out = f(l, u)`, where u are the logits of a branch that sees a worse picture, a
better one or none, reads another instruction, or is under another lever. A branch is a changed `Prompt`, so it is made of levers and works on every
model that prompts can be made for.
"""
import math
from abc import abstractmethod

import torch
from torch import Tensor

from mm.decoding.base import Stepwise
from mm.decoding.beside import Beside
from mm.models.continuation import Continuation
from mm.models.prompt import Prompt


class Contrast(Stepwise):
    """A branch, and what its logits do to those of the prompts."""

    @abstractmethod
    def branch(self, prompt: Prompt) -> Prompt:
        """What is read beside the prompts."""

    @abstractmethod
    def logits(self, own: Tensor, other: Tensor, step: int) -> Tensor:
        """float32 [B, vocabulary] of the prompts and of the branch → [B, vocabulary], -inf where a token is cut. step: 0 for the first token."""

    def continuation(self, prompt: Prompt) -> Continuation:
        return self.against(prompt, self.branch(prompt))

    def against(self, prompt: Prompt, branch: Prompt) -> Continuation:
        """With a branch of one's own, row by row beside the prompts."""
        return Contrasted(prompt.continuation(), branch.continuation(), self)

    def processor(self, prompt: Prompt) -> Beside:
        """For one call of transformers' `generate` on the inputs of `prompt`: `generate(..., logits_processor=[method.processor(prompt)])`."""
        return Beside(self, prompt)


class Contrasted(Continuation):
    """Two continuations of the same rows, read side by side."""

    def __init__(self, own: Continuation, other: Continuation, contrast: Contrast) -> None:
        self.own, self.other, self.contrast, self.steps = own, other, contrast, 0

    def begin(self) -> Tensor:
        return self.contrast.logits(self.own.begin(), self.other.begin(), 0)

    def step(self, ids: Tensor) -> Tensor:
        self.steps += 1
        return self.contrast.logits(self.own.step(ids), self.other.step(ids), self.steps)

    def select(self, rows: Tensor) -> None:
        self.own.select(rows)
        self.other.select(rows)

    @property
    def selects(self) -> bool:
        return self.own.selects and self.other.selects

    @property
    def forwards(self) -> int:  # type: ignore[override]
        return self.own.forwards + self.other.forwards


def plausible(logits: Tensor, judged: Tensor, share: float) -> Tensor:
    """`logits`, -inf where `judged` gives a token less than `share` of the probability of its likeliest one (Li et al., "Contrastive Decoding", ACL
    2023). 0 cuts nothing."""
    if share <= 0:
        return logits
    return torch.where(judged < judged.amax(-1, keepdim=True) + math.log(share), torch.full_like(logits, -torch.inf), logits)
