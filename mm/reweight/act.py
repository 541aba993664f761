"""Attention Calibration Technique (ACT): Yu et al., "Unveiling and Harnessing Hidden Attention Sinks: Enhancing Large Language Models without
Training through Attention Calibration", ICML 2024.

Tokens other than the first also become sinks, and not all of them help. In heads that a search has chosen, ACT keeps a part of the mass of those
sinks and returns the rest to all other tokens in proportion.
"""
import torch
from torch import Tensor

from mm.reweight.base import Reweight
from mm.reweight.heads import Heads, check_heads, heads_of
from mm.tokens import TokenMap

REST, SINK = range(2)


class ACT(Reweight):
    """Move attention mass from sinks inside the sequence to the other tokens.

    Args:
        sink_keep: share of its mass that a sink keeps (beta).
        threshold: mean weight, over the rows that see it, above which a key is a sink of a head. The released code has .1; the paper's is 5 / N, from
            memory, unverified.
        heads: pairs (layer, head) in which to act, from a search; None for all heads.
        first_layer, last_layer: inclusive, negative ones from the end; of 32 layers the released code takes 2 to 30.

    Sinks are found for each head when the prompt is read and kept; decoded tokens never become one. The released code protects the first sink it
    finds, whichever token that is, where it means token 0: here the first token of each document is protected by itself. While decoding, it takes any
    key with a large weight in the current row for a sink, returns their mass to them too, and sets the weight of token 0 to one, so that rows no
    longer sum to one; ours decodes with the prompt's sinks.
    """

    group_count = 2
    group_names = ("rest", "sink")
    needs = frozenset({"columns"})
    shares_rows = False  # a key's mean weight is taken over all rows that see it, those of other questions too

    def __init__(self, sink_keep: float = 0.4, threshold: float = 0.1, heads: Heads | None = None, first_layer: int = 2,
                 last_layer: int = -2) -> None:
        if not 0.0 <= sink_keep <= 1.0:
            raise ValueError(f"ACT: sink_keep is a share of mass, so in [0, 1]; got {sink_keep}")
        if not 0.0 < threshold < 1.0:
            raise ValueError(f"ACT: threshold is a mean weight, so in (0, 1); got {threshold}")
        self.sink_keep = sink_keep
        self.threshold = threshold
        self.heads = heads
        self.first_layer = first_layer
        self.last_layer = last_layer

    @property
    def is_neutral(self) -> bool:
        return self.sink_keep == 1.0

    def bind(self, layers: int, heads: int) -> None:
        check_heads("ACT", self.heads, layers, heads)
        super().bind(layers, heads)

    def applies(self, layer: int) -> bool:
        return super().applies(layer) and (self.heads is None or any(layer == where for where, _ in self.heads))

    def head_mask(self, layer: int, heads: int) -> Tensor | None:
        return heads_of(self.heads, layer, heads)

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor | None:
        """Long [B, H, N]; None without sinks. ValueError without `columns`."""
        if columns is None:
            raise ValueError("ACT finds sinks in the mean weight of each key and was given none; pass `columns`, from mm.attention.column_means")
        first = tokens.depth == 0  # and padding, which is no sink either
        sink = (columns > self.threshold) & ~first.unsqueeze(1)
        return torch.where(sink, SINK, REST) if bool(sink.any()) else None

    def weights(self, mass: Tensor, size: Tensor) -> Tensor:
        rest, sink = mass[REST], mass[SINK]
        somewhere = rest > 0  # a row that sees sinks only keeps them
        gain = torch.where(somewhere, (1 - self.sink_keep) * sink / torch.where(somewhere, rest, 1.0), 0.0)
        return torch.stack([1.0 + gain, torch.ones_like(gain).masked_fill(somewhere, self.sink_keep)])
