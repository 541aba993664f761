"""Pay Attention to Image (PAI), the part inside attention: Liu et al., "Paying More Attention to Image: A Training-Free Method for Alleviating
Hallucination in LVLMs", ECCV 2024.

While an answer is generated, scores of image tokens are raised by a share of their size. Its other part, guidance, is a rule on logits.
"""
import torch
from torch import Tensor

from mm.reweight.base import RowRule, answering
from mm.tokens import TokenMap

LOWEST = -1e30  # below any score of a key that is seen


class PAI(RowRule):
    """Raise the scores of image tokens in the rows that predict an answer.

    Args:
        alpha: share of its absolute value that a score gains; .2 for LLaVA-1.5, other models need another.
        first_layer, last_layer: inclusive, negative ones from the end; published for layers 2 to 31 of 32.

    `s + alpha * |s|` depends on the sign of each score, so the distribution inside the image changes too: masses do not suffice. The released code
    knows one image at one place for a whole batch, no grouped-query attention, and no beams.
    """

    idle_group = 0
    shares_rows = True

    def __init__(self, alpha: float = 0.2, first_layer: int = 2, last_layer: int = -1) -> None:
        if not alpha >= 0.0:
            raise ValueError(f"PAI: alpha is a share that image scores gain, so at least 0; got {alpha}")
        self.alpha = alpha
        self.first_layer = first_layer
        self.last_layer = last_layer

    @property
    def is_neutral(self) -> bool:
        return self.alpha == 0.0

    def rows(self, tokens: TokenMap) -> Tensor:
        return answering(tokens)

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        """1 on image tokens."""
        return tokens.is_vision.long()

    def logits(self, scores: Tensor, rows: TokenMap, keys: TokenMap, groups: Tensor | None) -> Tensor:
        assert groups is not None
        return raised(scores, self.alpha * groups.to(scores.dtype))


def raised(scores: Tensor, share: Tensor) -> Tensor:
    """scores [B, H, R, N] raised by `share` [B, 1 or H, N] of their size. A hidden key stays hidden: -inf + inf would be no number."""
    return torch.addcmul(scores, share.unsqueeze(2), scores.clamp(min=LOWEST).abs())
