"""ICD: Wang et al., "Mitigating Hallucinations in Large Vision-Language Models with Instruction Contrastive Decoding", Findings of ACL 2024.

The branch reads an instruction that confuses, so what it says is what the model makes up when it does not look closely; that is subtracted.
"""
from torch import Tensor

from mm.decoding.contrast import Contrast, plausible
from mm.models.prompt import Prompt

CONFUSED = "You are a confused objects detector to provide a fuzzy overview or impression of the image."


class ICD(Contrast):
    """logits = (1 + alpha) l - alpha l', cut where l < max l + log beta.

    Args:
        alpha: strength, the paper's lambda. beta: plausibility, the paper's alpha. 1 and 0.1 in the released script for LLaVA.
        disturbance: what the branch reads before the question; one of the five prefixes of that script, which calls them all.

    The released code was read, not run. For LLaVA it puts the disturbance in the place of the system prompt. Here it stands before the last question,
    behind the placeholders at its head, in every model.
    """

    def __init__(self, alpha: float = 1.0, beta: float = 0.1, disturbance: str = CONFUSED) -> None:
        self.alpha, self.beta, self.disturbance = alpha, beta, disturbance

    def branch(self, prompt: Prompt) -> Prompt:
        return prompt.reworded(self.disturbed)

    def disturbed(self, question: str) -> str:
        return f"{self.disturbance} {question.lstrip()}"

    def logits(self, own: Tensor, other: Tensor, step: int) -> Tensor:
        return plausible((1 + self.alpha) * own - self.alpha * other, own, self.beta)
