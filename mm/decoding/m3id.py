"""M3ID: Favero et al., "Multi-Modal Hallucination Control by Visual Information Grounding", CVPR 2024.

The longer an answer, the less it depends on the picture. The branch reads the text alone, and what the picture adds is raised more and more as the
answer grows, where the model is not sure anyway.
"""
import math

import torch
from torch import Tensor

from mm.decoding.contrast import Contrast
from mm.models.prompt import Prompt


class M3ID(Contrast):
    """logits = l_c + [max log p_c < log alpha] (exp(decay t) - 1) (log p_c - log p_u), t = 1 for the first token of an answer.

    Args:
        alpha: a token that is likelier than this is taken as the model says it. decay: how fast the picture's weight grows, the paper's lambda.

    Formula and both defaults come from the documentation of mitigv, a package of such methods; no code of the authors was found. Another paper's code
    (ONLY) counts t from 0, and raises the difference for every token. The branch keeps the rules that the model has: it is the same model without the
    picture.
    """

    def __init__(self, alpha: float = 0.3, decay: float = 0.02) -> None:
        if not alpha > 0:
            raise ValueError(f"M3ID: alpha is a probability above which the model is sure, so above 0; got {alpha}. With decay=0 it does nothing")
        self.alpha, self.decay = alpha, decay

    def branch(self, prompt: Prompt) -> Prompt:
        return prompt.without_media()

    def logits(self, own: Tensor, other: Tensor, step: int) -> Tensor:
        if self.decay == 0:
            return own
        seen = own.log_softmax(-1)
        unsure = seen.amax(-1, keepdim=True) < math.log(self.alpha)
        gained = own + math.expm1(self.decay * (step + 1)) * (seen - other.log_softmax(-1))
        return torch.where(unsure, gained, own)
