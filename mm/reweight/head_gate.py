"""The head gate of ONLY: Wan et al., "ONLY: One-Layer Intervention Sufficiently Mitigates Hallucinations in Large Vision-Language Models", ICCV 2025.

Heads whose attention is spread over the text rather than over the picture make a model tell what texts usually tell. In the rows that predict an
answer, the other heads are silenced, and what the model then says is a branch for `mm.decoding.ONLY` to set against the model itself.
"""
import torch
from torch import Tensor

from mm.reweight.base import RowRule, answering
from mm.tokens import TokenMap

LEAST = 1e-6  # entropy of an image of which a row sees one token, or looks at one


class HeadGate(RowRule):
    """Silence the heads whose text-to-visual entropy ratio is below the mean of their layer, in the rows that predict an answer.

    Args:
        layer: where, negative ones from the end; published for the first.
        share: of the layer's mean ratio that a head must reach to be heard. 1 is published; 0 silences none, and the plain model is left.

    The ratio of a head in a row is `H(text) / H(image)`, entropies of the row's weights within the text and within the image, each normalised to 1. A
    row that sees no image keeps all of its heads.

    The released code was read, not run. Before it takes entropies it sets to 0 the weights that exceed their group's mean by a standard deviation,
    and leaves the first token out of the text; it knows one sample and one place of the image. Here the entropies are those of the whole groups, as
    the ratio is defined.
    """

    silences = True
    shares_rows = True

    def __init__(self, layer: int = 0, share: float = 1.0) -> None:
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"HeadGate: share is that of the mean ratio which a head must reach, in [0, 1]; got {share}")
        self.layer = self.first_layer = self.last_layer = layer
        self.share = share

    @property
    def is_neutral(self) -> bool:
        return self.share == 0.0

    def rows(self, tokens: TokenMap) -> Tensor:
        return answering(tokens)

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        """1 on image tokens."""
        return tokens.is_vision.long()

    def logits(self, scores: Tensor, rows: TokenMap, keys: TokenMap, groups: Tensor | None) -> Tensor:
        assert groups is not None
        image = groups.bool().unsqueeze(2)
        ratio = entropy(scores, ~image) / entropy(scores, image).clamp(min=LEAST)
        sees = (image & ~scores.isneginf()).any(-1)
        silent = sees & (ratio < self.share * ratio.mean(1, keepdim=True))
        return scores.masked_fill(silent.unsqueeze(-1), -torch.inf)


def entropy(scores: Tensor, group: Tensor) -> Tensor:
    """Of softmax over the keys in `group` that a row sees, [...], 0 for no keys. scores: [..., N], -inf where unseen; group: bool, broadcastable.

    `H = LSE - E[score]`, which takes no second pass over the weights.
    """
    within = group & ~scores.isneginf()
    kept = scores.masked_fill(~within, -torch.inf)
    lse = kept.logsumexp(-1)
    weights = (kept - lse.masked_fill(lse.isneginf(), 0.0).unsqueeze(-1)).exp()
    return lse.masked_fill(lse.isneginf(), 0.0) - (weights * scores.masked_fill(~within, 0.0)).sum(-1)
