"""Biases of groups of keys as channels of the head, in one plain call: any kernel, any mask, all gradients.

`q.k` gains a bias b on the keys of a group when q is extended by `b / scale` and k by the group's one-hot. The head grows by eight channels, no mask
is written out, and the bias may differ from head to head although heads share keys.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from mm.attention.active import Active, biases_scores
from mm.attention.call import Call
from mm.attention.fused import ALIGNMENT, equal_widths
from mm.attention.kernels import attend
from mm.attention.part import AttentionPart

FAR = 1e4  # below all other scores, and nothing once it is an exponent


def channelled(call: Call, actives: list[Active]) -> Tensor:
    """Attention [B, H, Q, Dv] under rules of constant weights. They commute, and each renormalises, so that their log-weights add up."""
    q, k = [], []
    for active in actives:
        rule = active.rule
        assert biases_scores(rule)
        bias = rule.log_weights().to(call.q.device, call.precision) / call.factor
        groups = active.key_groups(call.tokens.shape[1], call.keys)
        touched = active.touched(slice(0, call.queries), call.q.device)
        for group in bias.nonzero().flatten().tolist():
            leftover = bias[group]
            for _ in range(2):  # what rounding to the kernel's precision leaves goes to another channel
                rounded = leftover.to(call.q.dtype)
                leftover = leftover - rounded.to(leftover.dtype)
                column = rounded.expand(1, 1, 1, 1) if touched is None else torch.where(touched, rounded, 0.0)
                q.append(column.expand(*call.q.shape[:3], 1))
                k.append((groups == group).to(call.k.dtype).unsqueeze(-1).expand(*call.k.shape[:3], 1))
    return extended(call, q, k, need_lse=False).out


def without_keys(call: Call, kept: Tensor) -> AttentionPart:
    """Attention with LSE of each head over its own keys, those True in `kept` [B, H, N]; close to -FAR is the LSE of a row that sees none of them."""
    size = (FAR / call.factor) ** 0.5
    hidden = size * (~kept).unflatten(1, (-1, call.shared)).transpose(2, 3).to(call.k.dtype)  # [B, Hk, N, heads that share]
    own = -size * torch.eye(call.shared, dtype=call.q.dtype, device=call.q.device).repeat(call.k.shape[1], 1)
    return extended(call, [own[None, :, None].expand(*call.q.shape[:3], -1)], [hidden], need_lse=True)


def extended(call: Call, q: list[Tensor], k: list[Tensor], need_lse: bool) -> AttentionPart:
    """The call with more channels [B, H, Q, .] and [B, Hk, N, .] in its queries and keys."""
    wide_q, wide_k, v = widened(call, q, k)
    out, lse = attend(wide_q, wide_k, v, call.mask, call.causal, call.factor, need_lse)
    return AttentionPart(out[..., :call.v.shape[-1]], lse)


def widened(call: Call, q: list[Tensor], k: list[Tensor]) -> tuple[Tensor, ...]:
    """Queries, keys and values of the call with more channels, of one width; what the values gain is 0."""
    wide_q, wide_k = torch.cat([call.q, *q], -1), torch.cat([call.k, *k], -1)
    room = -wide_q.shape[-1] % ALIGNMENT
    return equal_widths(F.pad(wide_q, (0, room)), F.pad(wide_k, (0, room)), call.v)
