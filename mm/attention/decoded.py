"""A decoding step under rules that move mass: its one row written out, with what follows from the prompt's groups kept from step to step.

A step's row is short work; finding out anew which keys belong to which group, in every layer of every step, would cost more than the row itself.
"""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mm.attention.active import Active
from mm.attention.call import Call
from mm.attention.cells import Cells
from mm.attention.rows import shared_product, softmax, visible_sizes

AHEAD = 64  # decoded tokens that tables reach ahead
Memo = dict[str, Any]  # of one layer of one generation


class PromptCells:
    """The cells of the prompt's tokens, and of those that follow.

    members: [B, 1 or H, N, C], 1 where a key is in a cell; transposed: its last two swapped. Both reach beyond the last key, and further when asked.
    sizes: [C, B, 1 or H, 1], keys of the prompt's `length` in each cell. later: [C, 1, 1, 1], 1 for the cell of keys that follow.
    """

    def __init__(self, actives: Sequence[Active], precision: torch.dtype) -> None:
        self.actives = tuple(actives)
        self.length = max(active.groups.shape[-1] for active in actives if active.groups is not None)
        self.cells = Cells(actives, self.length, self.length)
        self.members = self.cells.onehot(precision)
        self.sizes = self.members.sum(-2, keepdim=True).permute(3, 0, 1, 2)
        decoded = 0
        for rule, active in zip(self.cells.rules, actives, strict=True):
            decoded = decoded * rule.group_count + active.rule.decoded_group
        self.later = torch.zeros_like(self.members[0, 0, 0]).index_fill(0, torch.tensor(decoded, device=self.members.device), 1.0).view(-1, 1, 1, 1)
        self.reach(self.length + 1)

    def reach(self, length: int) -> None:
        if (known := self.members.shape[2]) < length:
            row = self.later.view(1, 1, 1, -1).expand(*self.members.shape[:2], length - known + AHEAD, -1)
            self.members = torch.cat([self.members, row], 2)
            self.transposed = self.members.transpose(-1, -2).contiguous()

    def serves(self, actives: Sequence[Active]) -> bool:
        """Whether they are cells of the same rules and groups."""
        return len(actives) == len(self.actives) and all(
            mine.rule is other.rule and mine.groups is other.groups for mine, other in zip(self.actives, actives, strict=True))


def decoded_row(call: Call, actives: Sequence[Active], memo: Memo) -> Tensor:
    """Output [B, H, 1, Dv] of a call with one query, behind a prompt that all of its keys or the last of them belong to or follow."""
    prompt: PromptCells | None = memo.get("cells")
    if prompt is None or not prompt.serves(actives):
        prompt = memo["cells"] = PromptCells(actives, call.precision)
    length = call.tokens.shape[1]
    prompt.reach(length)
    first = length - call.keys  # a sliding layer has let go of earlier ones
    members, transposed = prompt.members[:, :, first:length], prompt.transposed[..., first:length]
    scores = shared_product(call.q.to(call.precision) * call.factor, call.k.to(call.precision).transpose(-1, -2))
    seen = call.visible(slice(0, 1), call.keys)
    weights = softmax(scores if seen is None else scores.masked_fill(~seen, -torch.inf), seen)
    mass = for_heads(weights, members).permute(3, 0, 1, 2)
    if seen is None and not first:
        size = torch.add(prompt.sizes, prompt.later, alpha=length - prompt.length)
    else:
        size = visible_sizes(seen, members)
    factors = prompt.cells.factors(mass, size, slice(0, 1), actives)
    weights *= for_heads(factors.permute(1, 2, 3, 0), transposed)
    return shared_product(weights, call.v.to(call.precision)).to(call.q.dtype)


def for_heads(rows: Tensor, table: Tensor) -> Tensor:
    """rows [B, H, 1, x] @ table [B, 1 or H, x, y] → [B, H, 1, y]; a table that heads share is not repeated for them."""
    return (rows.transpose(1, 2) @ table).transpose(1, 2) if table.shape[1] == 1 else rows @ table
