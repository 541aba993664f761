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
from mm.attention.rows import shared_product, softmax

Memo = dict[str, Any]  # of one layer of one generation


class PromptCells:
    """The cells of the P prompt tokens.

    members: [B, 1 or H, P, C], 1 where a key is in a cell; transposed: its last two swapped. sizes: [C, B, 1 or H, 1]. decoded: cell of later keys.
    """

    def __init__(self, actives: Sequence[Active], precision: torch.dtype) -> None:
        self.actives = tuple(actives)
        tables = [active.groups for active in actives if active.groups is not None]
        self.length = max(table.shape[-1] for table in tables)
        self.cells = Cells(actives, self.length, self.length)
        self.members = self.cells.onehot(precision)
        self.transposed = self.members.transpose(-1, -2).contiguous()
        self.sizes = self.members.sum(-2, keepdim=True).permute(3, 0, 1, 2)
        self.decoded = 0
        for rule, active in zip(self.cells.rules, actives, strict=True):
            self.decoded = self.decoded * rule.group_count + active.rule.decoded_group

    def serves(self, actives: Sequence[Active]) -> bool:
        """Whether they are cells of the same rules and groups."""
        return len(actives) == len(self.actives) and all(
            mine.rule is other.rule and mine.groups is other.groups for mine, other in zip(self.actives, actives, strict=True))


def decoded_row(call: Call, actives: Sequence[Active], memo: Memo) -> Tensor:
    """Output [B, H, 1, Dv] of a call with one query, behind a prompt that all of its keys or the last of them belong to or follow."""
    prompt: PromptCells | None = memo.get("cells")
    if prompt is None or not prompt.serves(actives):
        prompt = memo["cells"] = PromptCells(actives, call.precision)
    gone = call.tokens.shape[1] - call.keys  # keys that a sliding layer has let go
    members, transposed = (prompt.members, prompt.transposed) if not gone else (prompt.members[:, :, gone:], prompt.transposed[..., gone:])
    early = members.shape[2]
    scores = shared_product(call.q.to(call.precision) * call.factor, call.k.to(call.precision).transpose(-1, -2))
    seen = call.visible(slice(0, 1), call.keys)
    weights = softmax(scores if seen is None else scores.masked_fill(~seen, -torch.inf), seen)
    mass = for_heads(weights[..., :early], members).permute(3, 0, 1, 2)
    mass[prompt.decoded] += weights[..., early:].sum(-1)
    size = prompt.sizes.clone() if seen is None and not gone else counts(seen, members).contiguous()
    size[prompt.decoded] += call.keys - early if seen is None else seen[..., early:].sum(-1)
    factors = prompt.cells.factors(mass, size, slice(0, 1), actives)
    weights[..., :early] *= for_heads(factors.permute(1, 2, 3, 0), transposed)
    weights[..., early:] *= factors[prompt.decoded].unsqueeze(-1)
    return shared_product(weights, call.v.to(call.precision)).to(call.q.dtype)


def for_heads(rows: Tensor, table: Tensor) -> Tensor:
    """rows [B, H, 1, x] @ table [B, 1 or H, x, y] → [B, H, 1, y]; a table that heads share is not repeated for them."""
    return (rows.transpose(1, 2) @ table).transpose(1, 2) if table.shape[1] == 1 else rows @ table


def counts(seen: Tensor | None, members: Tensor) -> Tensor:
    """Prompt keys of each cell that the row sees, [C, B, 1 or H, 1]."""
    found = members.sum(-2, keepdim=True) if seen is None else seen[..., :members.shape[2]].to(members.dtype) @ members
    return found.permute(3, 0, 1, 2)
