"""Pay Attention to Image (PAI), the part on logits: Liu et al., "Paying More Attention to Image: A Training-Free Method for Alleviating Hallucination
in LVLMs", ECCV 2024.

Guidance away from what the model says without the picture. Its other part, inside attention, is `mm.reweight.PAI`; the method is both.
"""
from torch import Tensor

from mm.decoding.contrast import Contrast, plausible
from mm.models.prompt import Prompt


class PAIGuidance(Contrast):
    """log p = gamma (log p_c - log p_u) + log p_u, cut where log p_c < max log p_c + log beta; with gamma 1, log p_c as it is and no cut.

    Args:
        gamma: strength; 1.1 in the released README, 2 by the script's default. beta: plausibility, 0.1 in the released code.

    The branch is the prompt without the tokens of its pictures, whose text moves up, under no rules: the released code switches its attention part
    off there. The numbers of the released code were reproduced (tests/golden/reweight). It keeps the branch's cache from one sample to the next and
    does not reorder it under beams, and advises to sample from the nucleus.
    """

    def __init__(self, gamma: float = 1.1, beta: float = 0.1) -> None:
        self.gamma, self.beta = gamma, beta

    def branch(self, prompt: Prompt) -> Prompt:
        return prompt.without_media().steered([])

    def logits(self, own: Tensor, other: Tensor, step: int) -> Tensor:
        seen = own.log_softmax(-1)
        if self.gamma == 1:
            return seen
        blind = other.log_softmax(-1)
        return plausible(self.gamma * (seen - blind) + blind, seen, self.beta)
