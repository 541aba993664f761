"""A contrast of a model under its levers with itself under others, or none. Ours: what VCD does with a picture, done with attention.

VAR, PAI and their like move attention towards the picture. What the model says without them is what they are to take away; subtracting it does so
once more, on the logits.
"""
from collections.abc import Sequence

from torch import Tensor

from mm.decoding.contrast import Contrast, plausible
from mm.models.prompt import Prompt
from mm.reweight import Rule


class LeverContrast(Contrast):
    """logits = (1 + alpha) l - alpha l', cut where l < max l + log beta. Formula and plausibility as in VCD.

    Args:
        rules: of the branch, in place of those that the model has; by default none ("VAR off", beside a model under VAR). A branch that adds one to
            those that the model has lists them all.
        alpha: strength; not tuned. beta: plausibility.
    """

    def __init__(self, rules: Sequence[Rule] = (), alpha: float = 1.0, beta: float = 0.1) -> None:
        self.rules, self.alpha, self.beta = tuple(rules), alpha, beta

    def branch(self, prompt: Prompt) -> Prompt:
        return prompt.steered(self.rules)

    def logits(self, own: Tensor, other: Tensor, step: int) -> Tensor:
        return plausible((1 + self.alpha) * own - self.alpha * other, own, self.beta)
