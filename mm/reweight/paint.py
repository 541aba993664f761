"""PAINT: "Fixing Imbalanced Attention to Mitigate In-Context Hallucination of Large Vision-Language Model", Arif et al., 2025.

Like PAI, but for image tokens that the vision encoder itself singles out: *local* ones, on which its class token looks in the first layer, and
*summary* ones, outliers of the penultimate layer, into which the encoder has written something about the whole picture.
"""
from copy import copy

import torch
from torch import Tensor

from mm.reweight.base import RowRule, answering
from mm.reweight.pai import raised
from mm.tokens import TokenMap

REST, LOCAL, SUMMARY = range(3)


class PAINT(RowRule):
    """Raise the scores of local and summary image tokens in the rows that predict an answer.

    Args:
        local: share of its absolute value that the score of a local token gains (alpha). A cliff: .5 does nothing, .7 works, .8 ruins answers.
        summary: the same for summary tokens (beta); the paper's best is .4, the released code's default .3.
        first_layer, last_layer: inclusive, negative ones from the end; published for layers 2 to 31 of 32.

    The sets belong to a picture. A mm.VLM looks for those of whatever pictures it reads, and so does a `PretrainedVLM`; elsewhere
    `PAINT().on(mm.models.picture_sets(model, pixels))` is the rule for the pictures at hand. Factors are the same in all heads, as in the released
    code, though the abstract says otherwise. The published gain comes with answers twice as long and a lower F1: compare at equal length. The
    released "spatial" tokens are left out: they are chosen by sums of softmax rows, which are all one, so at random.

    sets: long [B, V], of the pictures of a batch of rows; None until they are known.
    """

    idle_group = REST
    shares_rows = True

    def __init__(self, local: float = 0.7, summary: float = 0.4, first_layer: int = 2, last_layer: int = -1) -> None:
        if not (local >= 0.0 and summary >= 0.0):
            raise ValueError(f"PAINT: local and summary are shares that scores gain, so at least 0; got {local} and {summary}")
        self.local = local
        self.summary = summary
        self.first_layer = first_layer
        self.last_layer = last_layer
        self.sets: Tensor | None = None

    def on(self, sets: Tensor) -> "PAINT":
        """The rule for pictures with these token sets, long [B, V] as `token_sets` gives them: an entry for each vision token of a row, in order."""
        rule = copy(self)
        rule.sets = sets
        rule.shares_rows = False  # of one batch, so its rows stay what they are
        return rule

    @property
    def is_neutral(self) -> bool:
        return self.local == self.summary == 0.0

    def rows(self, tokens: TokenMap) -> Tensor:
        return answering(tokens)

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        """Long [B, N]: 1 on local and 2 on summary tokens. ValueError without sets, or where they do not fit the vision tokens."""
        vision = tokens.is_vision
        if not bool(vision.any()):  # no picture, or what follows one whose rows may have been read in another batch
            return torch.full_like(tokens.kind, REST)
        if self.sets is None:
            raise ValueError("PAINT was given no token sets; use PAINT(...).on(mm.models.picture_sets(model, pixels)) for the pictures at hand")
        if bool((tokens.document > 0).any()):
            raise ValueError("PAINT's sets are for the pictures of one document a row, and a row holds several; read them in rows of their own")
        counts = vision.sum(1)
        if self.sets.shape[0] != tokens.shape[0] or bool((counts > self.sets.shape[1]).any()):
            raise ValueError(f"PAINT's sets are for {self.sets.shape[0]} rows of {self.sets.shape[1]} vision tokens, and the prompt has "
                             f"{counts.tolist()} in {tokens.shape[0]} rows; give the sets of these pictures, for beams each row's as often")
        order = (tokens.shown - 1).clamp(min=0, max=self.sets.shape[1] - 1)  # also right in a later piece of a prompt
        return torch.where(vision, self.sets.to(order.device).gather(1, order), REST)

    def logits(self, scores: Tensor, rows: TokenMap, keys: TokenMap, groups: Tensor | None) -> Tensor:
        assert groups is not None
        return raised(scores, scores.new_tensor([0.0, self.local, self.summary])[groups])


def token_sets(first: Tensor, penultimate: Tensor, local_share: float = 0.25) -> Tensor:
    """Set of each patch, long [B, V]: 0, LOCAL = 1 or SUMMARY = 2, from attention weights of a vision encoder whose token 0 is its class token.

    first, penultimate: [B, heads, 1 + V, 1 + V], of the encoder's first and penultimate layer, or their first rows [B, heads, 1, 1 + V]
    (`mm.models.picture_sets` observes them). local_share: of the patches that the class token sees
    best in the first layer; those that are summary tokens do not count as local. Summary tokens lie above the upper quartile by more than 1.5
    interquartile ranges.
    """
    near, far = (weights[:, :, 0, 1:].sum(1) for weights in (first, penultimate))
    sets = torch.zeros(near.shape, dtype=torch.long, device=near.device)
    patches = near.shape[1]
    for row, (local, summary) in enumerate(zip(near, far, strict=True)):
        lower, upper = summary.quantile(0.25), summary.quantile(0.75)
        outliers = int((summary > upper + 1.5 * (upper - lower)).sum())
        sets[row, local.topk(int(patches * local_share)).indices] = LOCAL
        sets[row, summary.topk(outliers).indices] = SUMMARY
    return sets
