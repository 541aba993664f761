"""A decoding step under rules that change scores of some keys: these keys written out, all others on the fused kernel, and the two merged.

In low precision that is much cheaper than the whole row written out, for which every key would first be made precise.
"""
import torch
from torch import Tensor

from mm.attention.active import Active, bends_rows, scales_scores
from mm.attention.call import Call
from mm.attention.grouped import base_alone, folded
from mm.attention.keys import Keys
from mm.attention.part import softmax_over_groups
from mm.attention.rows import shared_product
from mm.attention.scaled import score_factors


def partly_written_out(call: Call, actives: list[Active]) -> Tensor:
    """Output [B, H, 1, Dv] of a call with one query, under rules that bend or scale scores and leave an idle group of keys alone."""
    one, length = slice(0, 1), call.tokens.shape[1]
    tables = [active.key_groups(length, call.keys) for active in actives]
    changed = torch.stack([table.ne(idle_group(active) or 0) for table, active in zip(tables, actives, strict=True)]).any(0)
    if not bool(changed.any()):
        return folded(call.q, call.k, call.v, call.mask, call.causal, call.scale).out
    keys = Keys.where(changed, changed.long())
    at = keys.index[:, 0]
    tokens = call.tokens[:, length - call.keys:].map(lambda table: table.gather(1, at))
    scores = shared_product(call.q.to(call.precision) * call.factor, keys.of(call.k, call.shared).to(call.precision).transpose(-1, -2))
    for active in actives:
        if scales_scores(active.rule):
            factors = score_factors(active, call)
            scores = scores * factors.gather(-1, keys.index.expand(-1, factors.shape[1], -1)).unsqueeze(2)
    seen = keys.seen(call.pairs(one, keys.index))
    scores = scores if seen is None else scores.masked_fill(~seen, -torch.inf)
    for active, table in zip(actives, tables, strict=True):
        if bends_rows(active.rule):
            found = active.rule.logits(scores, call.tokens[:, call.start:call.start + 1], tokens, table.gather(-1, keys.index))
            touched = active.touched(one, scores.device)
            scores = found if touched is None else torch.where(touched, found, scores)
    base = base_alone(call, ~changed)
    assert base.lse is not None
    mass, total = softmax_over_groups(torch.stack([base.lse.to(call.precision), scores.logsumexp(-1)]))
    weights = (scores - total.masked_fill(total == -torch.inf, 0.0).unsqueeze(-1)).exp()
    out = mass[0].unsqueeze(-1) * base.out + shared_product(weights, keys.of(call.v, call.shared).to(call.precision))
    return out.to(call.q.dtype)


def serves(call: Call, actives: list[Active]) -> bool:
    """Whether `partly_written_out` computes this call under these rules."""
    return call.queries == 1 and all(idle_group(active) is not None and active.groups is not None and active.groups.dim() == 2 for active in actives)


def idle_group(active: Active) -> int | None:
    rule = active.rule
    return rule.idle_group if bends_rows(rule) or scales_scores(rule) else None
