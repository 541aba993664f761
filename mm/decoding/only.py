"""ONLY: Wan et al., "ONLY: One-Layer Intervention Sufficiently Mitigates Hallucinations in Large Vision-Language Models", ICCV 2025.

The branch is the same prompt with some heads of one layer silenced (`mm.reweight.HeadGate`). Where both say much the same they are added, where they
differ the branch is subtracted.
"""
import torch
from torch import Tensor

from mm.decoding.contrast import Contrast, plausible
from mm.models.prompt import Prompt
from mm.reweight import HeadGate


class ONLY(Contrast):
    """logits = l + alpha1 l' where sum |p - p'| < gamma, else (1 + alpha2) l - alpha2 l'; cut where l < max l + log beta.

    Args:
        layer: of the gate, the first one. alpha1, alpha2: strengths. gamma: distance, 0 to 2. beta: plausibility.

    Defaults of layer, alpha1, alpha2 and gamma as mitigv documents them; the released code was read, not run: it has beta 0.1, and gamma 0.1 where
    a script gives none. It takes the distance over the whole batch, which is of one; here it is each row's.

    What differs: the released code needs no second pass. It carries the gated output of the one layer to the last layer's feed-forward block, adds a
    fifth of what is there, and reads logits off. Here the branch is a whole pass under the gate, as in mitigv, at twice the cost; no other rule is
    active in it.
    """

    def __init__(self, layer: int = 0, alpha1: float = 3.0, alpha2: float = 1.0, gamma: float = 0.2, beta: float = 0.1) -> None:
        self.layer, self.alpha1, self.alpha2, self.gamma, self.beta = layer, alpha1, alpha2, gamma, beta

    def branch(self, prompt: Prompt) -> Prompt:
        return prompt.steered([HeadGate(self.layer)])

    def logits(self, own: Tensor, other: Tensor, step: int) -> Tensor:
        distance = (own.softmax(-1) - other.softmax(-1)).abs().sum(-1, keepdim=True)
        near, far = own + self.alpha1 * other, (1 + self.alpha2) * own - self.alpha2 * other
        return plausible(torch.where(distance < self.gamma, near, far), own, self.beta)
