"""AGLA: An et al., "AGLA: Mitigating Object Hallucinations in Large Vision-Language Models with Assembly of Global and Local Attention", CVPR 2025.

The branch sees the part of the picture that the prompt is about and nothing else; both readings are added.
"""
from torch import Tensor

from mm.decoding.contrast import Contrast, plausible
from mm.decoding.local_view import LocalView, Looked
from mm.models.prompt import Prompt


class AGLA(Contrast):
    """logits = l + alpha l', cut where l < max l + log beta.

    Args:
        alpha: strength, 1 in mitigv's documentation. beta: plausibility, 0.5 in a copy of the released code in another project; the released sampling
            code itself was not found.
        view: what the branch sees.

    The published local view needs a second model: the gradients of an image-text matching model (BLIP) say which parts of the picture the prompt is
    about, the others become black, and how many stay follows from its matching score. Any such view can be given as a `LocalView`. The default one is
    ours and approximate: the model's own attention takes the place of the second model, and a fixed share of the picture stays.
    """

    def __init__(self, alpha: float = 1.0, beta: float = 0.5, view: LocalView | None = None) -> None:
        self.alpha, self.beta, self.view = alpha, beta, view or Looked()

    def branch(self, prompt: Prompt) -> Prompt:
        return self.view(prompt)

    def logits(self, own: Tensor, other: Tensor, step: int) -> Tensor:
        return plausible(own + self.alpha * other, own, self.beta)
