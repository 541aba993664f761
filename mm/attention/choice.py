"""Attention over keys that a rule biases and chooses row by row: the bias as a channel of the head, the choice as a mask of one window of rows at a
time, so that the fused kernel does the work and Q x N is never held.
"""
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mm.attention.active import Active, chooses_keys
from mm.attention.call import Call
from mm.attention.channels import widened
from mm.attention.kernels import attend

ENTRIES = 2**22  # of a window's mask, over batch and heads ...
FEWEST = 128  # ... unless its rows become so few that reading the keys again and again is what takes the time


class Choice:
    """What one rule does to the keys of one call. bias: [B, Hk, N], in the precision of masses."""

    def __init__(self, call: Call, active: Active) -> None:
        assert chooses_keys(active.rule)
        self.call, self.rule = call, active.rule
        self.bias = active.rule.bias(active.layer, call.v).to(call.precision)
        self.fixed = self.bias.detach()
        self.keys = call.tokens[:, call.tokens.shape[1] - call.keys:]

    def over_heads(self) -> Tensor:
        """The bias for each head of queries, [B, H, N]."""
        return self.bias.repeat_interleave(self.call.shared, 1)

    def channels(self) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v of which plain attention is attention with the bias. What rounding to the kernel's precision leaves goes to another channel."""
        columns, leftover = [], self.bias / self.call.factor
        for _ in range(1 if self.call.k.dtype == self.call.precision else 2):
            columns.append(leftover.to(self.call.k.dtype).unsqueeze(-1))
            leftover = leftover - columns[-1].squeeze(-1).to(leftover.dtype)
        q, k, v = widened(self.call, [torch.ones_like(self.call.q[..., :1]).expand(*self.call.q.shape[:3], len(columns))], columns)
        return q, k, v

    def seen(self, rows: slice, stop: int) -> Tensor:
        """bool [B, H, q, stop]: the keys that a window of rows is left with."""
        seen = self.call.visible(rows, stop)
        if seen is None:
            seen = torch.ones(1, 1, rows.stop - rows.start, stop, dtype=torch.bool, device=self.fixed.device)
        if not self.rule.chooses(self.call.keys):
            return seen
        if seen.shape[1] > 1:  # a mask for each head of queries
            return self.rule.chosen(self.fixed.repeat_interleave(self.call.shared, 1), seen, self.keys)
        return self.rule.chosen(self.fixed, seen, self.keys).repeat_interleave(self.call.shared, 1)


def among_chosen(call: Call, active: Active) -> Tensor:
    """Attention [B, H, Q, Dv] under one rule that chooses keys. Gradients make a window's mask again rather than keep those of all."""
    choice = Choice(call, active)
    q, k, v = choice.channels()
    width = call.v.shape[-1]
    if not choice.rule.chooses(call.keys):
        return attend(q, k, v, call.mask, call.causal, call.factor).out[..., :width]

    def window(rows: slice, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        stop = call.reach(rows)
        return attend(q[:, :, rows], k[:, :, :stop], v[:, :, :stop], choice.seen(rows, stop), scale=call.factor).out[..., :width]

    size = max(FEWEST, ENTRIES // (q.shape[0] * q.shape[1] * call.keys))
    where = [slice(start, min(start + size, call.queries)) for start in range(0, call.queries, size)]
    if len(where) > 1 and torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return torch.cat([checkpoint(window, rows, q, k, v, use_reentrant=False) for rows in where], 2)
    return torch.cat([window(rows, q, k, v) for rows in where], 2)
