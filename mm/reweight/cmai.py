"""Cross-Modal Attention Inhibition (CMAI). Reconstruction from an abstract only: the method's own equations were not available, and no figure of its
paper is claimed.

A word of the question may look at an image token that none of the words which it builds on looks at. CMAI takes such pairs out: the focus of a row is
what the words that it attends to see of the image, and where the focus is weakest the row's own look is inhibited.
"""
from math import log

import torch
from torch import Tensor

from mm.reweight.base import RowRule
from mm.tokens import Role, TokenMap


class CMAI(RowRule):
    """Weaken what a text row sees of the image wherever the other text rows do not look.

    Args:
        quantile: share of the image tokens that a row sees to be inhibited, those of the weakest focus.
        keep: factor on the weights of inhibited pairs before normalisation; 0 hides them.
        first_layer, last_layer: inclusive, negative ones from the end.

    Focus of row i on image token j: `sum_t a_it A_tj` over text rows t of the same prompt that come after an image, a their weights in row i,
    normalised (per head, our choice). Answers are not touched (our choice): their focus would need the weights of all earlier rows while decoding.
    The prompt must be read in one piece, or ValueError. Which pairs are inhibited is a constant for gradients. Memory is O(text rows x N).
    """

    together = True
    wants_whole = True
    shares_rows = True

    def __init__(self, quantile: float = 0.5, keep: float = 0.0, first_layer: int = 2, last_layer: int = -1) -> None:
        if not 0.0 <= quantile < 1.0:
            raise ValueError(f"CMAI: quantile is the share of image tokens to inhibit, in [0, 1); got {quantile}")
        if not 0.0 <= keep <= 1.0:
            raise ValueError(f"CMAI: keep is a factor on weights, in [0, 1]; got {keep}")
        self.quantile = quantile
        self.keep = keep
        self.first_layer = first_layer
        self.last_layer = last_layer

    @property
    def is_neutral(self) -> bool:
        return self.quantile == 0.0 or self.keep == 1.0

    def rows(self, tokens: TokenMap) -> Tensor:
        return tokens.follows_vision & (tokens.role != Role.ANSWER)

    def logits(self, scores: Tensor, rows: TokenMap, keys: TokenMap, groups: Tensor | None) -> Tensor:
        weights = scores.detach().softmax(-1).nan_to_num(0.0)
        first = int(rows.index[0, 0] - keys.index[0, 0])  # the rows as keys
        own = self.rows(rows)[:, None, None]
        if first and bool(self.rows(keys[:, :first]).any()):
            raise ValueError(f"{self!r} needs the weights of all text rows behind an image, and the first {first} tokens were read before; read the "
                             "prompt in one piece: prefill without chunks, and every turn of a dialogue anew")
        among = weights[..., first:first + rows.shape[1]] * own
        among = among / among.sum(-1, keepdim=True).clamp(min=torch.finfo(among.dtype).tiny)
        image = keys.is_vision[:, None, None] & (scores > -torch.inf)
        focus = (among @ (weights * image)).masked_fill(~image, torch.inf)
        rank = (self.quantile * image.sum(-1, keepdim=True)).long()  # so many of a row's are inhibited, fewer where several tie
        weakest = focus < focus.sort(-1).values.gather(-1, rank)
        return scores.masked_fill(weakest, -torch.inf) if self.keep == 0.0 else scores + log(self.keep) * weakest
