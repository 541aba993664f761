"""Where the newest token looks, pass after pass: one row a layer, in the layers asked for, kept until the next pass."""
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from mm.attention.active import Active
from mm.attention.call import Call
from mm.attention.record import Recorder, row_weights, visible_rows
from mm.tokens import TokenMap


class Newest(Recorder):
    """For decoding that looks back while it goes on. Weights are those of the model's own scores, before rules that move mass.

    looks: {layer: weights [B, H, N]} of each row's last token over all tokens so far, float32, on the model's device; 0 where a sliding layer has let
    go. tokens: map of these N tokens. Both are of the latest pass; empty and None before the first.
    """

    def __init__(self, layers: Iterable[int]) -> None:
        super().__init__(layers)
        self.looks: dict[int, Tensor] = {}
        self.tokens: TokenMap | None = None

    @torch.no_grad()
    def watch(self, layer: int, call: Call, active: Sequence[Active], groups: Tensor | None) -> None:
        assert self.layers is not None
        if layer not in self.layers:
            return
        index = torch.full((call.q.shape[0], 1), call.queries - 1, device=call.q.device)
        weights = row_weights(call.q[:, :, -1:], call.k, visible_rows(call.mask, index, call.q, call.k, call.causal), call.scale)
        self.looks[layer] = pad(weights[:, :, 0], (call.tokens.shape[1] - call.keys, 0))
        self.tokens = call.tokens
