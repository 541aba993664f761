"""What a model reads at once, and what it says about the labelled tokens."""
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from mm.tokens import TokenMap

UNLABELLED = -100


class Output(NamedTuple):
    """At the R rows that predict a labelled token: logits float32 [R, vocabulary], targets [R], weights [R]."""

    logits: Tensor
    targets: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """B rows of N tokens.

    ids: the samples. input_ids: [B, N]; visual tokens hold the padding id. labels: [B, N], -100 where unlabelled, not shifted.
    weights: [B, N], loss weight of each labelled token. tokens: what each position is. pixels: uint8 [F, 3, H, W], all frames in row order.
    frames: [M], how many of them each image or clip has. vision_at: indices into the flattened [B * N] tokens where the media's tokens go.
    predict_at: [R] such indices of the tokens that predict a labelled one, which stands right behind each.
    """

    ids: tuple[str, ...]
    input_ids: Tensor
    labels: Tensor
    weights: Tensor
    tokens: TokenMap
    pixels: Tensor
    frames: Tensor
    vision_at: Tensor
    predict_at: Tensor

    @property
    def targets(self) -> Tensor:
        return self.labels.flatten()[self.predict_at + 1]

    @property
    def target_weights(self) -> Tensor:
        return self.weights.flatten()[self.predict_at + 1]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        moved = {field.name: getattr(self, field.name).to(device, non_blocking=non_blocking) for field in fields(self) if field.name != "ids"}
        return replace(self, **moved)

    def pin_memory(self) -> "Batch":
        pinned = {field.name: getattr(self, field.name).pin_memory() for field in fields(self) if field.name not in ("ids", "tokens")}
        return replace(self, tokens=self.tokens.map(lambda table: table.contiguous().pin_memory()), **pinned)
