"""Attention under rules: `reweigh` is what a model's layer calls, `reweighted` does a whole layer's work for tests and direct use.

Four forms compute the same, and `reweigh` takes the cheapest (`python -m bench.reweight`):
rows written out, for few rows, and for rules that bend scores, which nothing else can compute; groups on the fused kernel, for rules that move mass;
more channels of the head, for constant weights of groups so large that they would need a kernel of their own; keys scaled beforehand, for factors on
scores.
"""
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mm.attention.active import (
    Active,
    LayerRule,
    bends_rows,
    biases_scores,
    checked_groups,
    chooses_keys,
    moves_mass,
    rewrites_keys,
    scales_scores,
    union_rows,
)
from mm.attention.call import Call
from mm.attention.cells import Cells
from mm.attention.channels import channelled
from mm.attention.choice import among_chosen
from mm.attention.columns import column_means
from mm.attention.decoded import Memo, decoded_row
from mm.attention.grouped import FEW, regrouped
from mm.attention.kernels import attend
from mm.attention.products import precision
from mm.attention.rewriting import found_keys, placed
from mm.attention.rows import runs, windows, written_out
from mm.attention.scaled import scaled_keys
from mm.attention.step import partly_written_out, serves
from mm.attention.visibility import Visibility
from mm.tokens import TokenMap

# Numbers that rows written out touch, beyond which rules that move mass go on the fused kernel (`python -m bench.reweight`): below, starting more
# kernels costs more than a few rows do.
CROSSOVER = 2**18


def reweighted(q: Tensor, k: Tensor, v: Tensor, rules: Sequence[LayerRule], tokens: TokenMap, hidden: Tensor | None = None, layer: int = 2,
               mask: Tensor | Visibility | None = None, scale: float | None = None) -> Tensor:
    """Attention [B, H, Q, Dv] of one layer under `rules`, whose groups are found here. The queries are the last of the tokens.

    hidden: [B, N, C], entering the layer, for rules that want it. mask: causal if None.
    """
    start = tokens.shape[1] - q.shape[2]
    acting = [rule for rule in rules if rule.applies(layer) and not rule.is_neutral]
    for rule in acting:
        if rewrites_keys(rule):
            found = found_keys(rule, rule.spans(tokens), layer, k, v)
            k = k if found is None else placed(k, found, 0)
    call = Call(q, k, v, mask, mask is None, scale, tokens, start)
    active = [Active(rule, found_groups(rule, call, layer, hidden), rule.rows(tokens)[:, start:], rule.head_mask(layer, q.shape[1]), layer)
              for rule in acting if not rewrites_keys(rule)]
    return reweigh(q, k, v, active, mask, call.causal, scale, tokens, start)


def found_groups(rule: LayerRule, call: Call, layer: int, hidden: Tensor | None = None) -> Tensor | None:
    """`rule.groups` of the call that reads the prompt, to be kept while the answer is generated. hidden: [B, N, C], entering the layer.

    ValueError where the rule gives no table of the tokens' groups.
    """
    tokens, heads = call.tokens, call.q.shape[1]
    columns = column_means(call, rule.head_mask(layer, heads)) if "columns" in rule.needs else None
    groups = checked_groups(rule, rule.groups(tokens, layer, hidden, columns), tokens.shape)
    return None if groups is None or not rule.acts_on(groups) else groups


def reweigh(q: Tensor, k: Tensor, v: Tensor, active: Sequence[Active], mask: Tensor | Visibility | None, causal: bool, scale: float | None,
            tokens: TokenMap, start: int, memo: Memo | None = None) -> Tensor:
    """Attention [B, H, Q, Dv] of q [B, H, Q, D] over k [B, Hk, N, D] and v [B, Hk, N, Dv] under the rules in `active`.

    mask, causal, scale: as for `attend`. tokens: [B, T], every token up to the last key. start: index of the first query in `tokens`. memo: of this
    layer in this generation, empty at first; decoding steps keep in it what follows from the prompt.
    Factors on scores come first, then keys are biased and chosen, then rows are bent, then masses are moved, each kind in list order. Where no rule
    acts it is `attend`, to the bit.
    ValueError where tokens, groups and call do not fit each other, and where rules cannot act together.
    """
    acting = [one for one in active if one.acts]
    if not acting:
        return attend(q, k, v, mask, causal, scale).out
    device = q.device.type
    if torch.is_autocast_enabled(device):  # the kernel's precision for inputs, not for masses
        q, k, v = (x.to(precision(x)) for x in (q, k, v))
        with torch.autocast(device, enabled=False):
            return reweigh(q, k, v, acting, mask, causal, scale, tokens, start, memo)
    if isinstance(mask, Visibility) and (mask.is_plain or mask.sees_all()):
        causal, mask = mask.is_plain, None
    call = Call(q, k, v, mask, causal, scale, tokens, start)
    check(call, acting)
    if memo is not None and call.queries == 1 and call.q.dtype == call.precision and all(moves_mass(one.rule) for one in acting):
        return decoded_row(call, acting, memo)
    choosers = [one for one in acting if chooses_keys(one.rule)]
    others = [one for one in acting if one not in choosers]
    if not others:
        return among_chosen(call, choosers[0])
    if call.queries == 1 and not choosers and all(one.rows is None for one in others) and numbers_written_out(call, 1) <= CROSSOVER:
        return whole_row(call, others)  # what follows would find the same, in more steps than a decoded token's row is worth
    touched = union_rows(others, call.queries)
    many = numbers_written_out(call, int(touched.sum())) > CROSSOVER
    if many and serves(call, acting):
        return partly_written_out(call, acting)
    scalers = [one for one in acting if scales_scores(one.rule)]
    if scalers and (many or call.queries > 1):
        keys, values = scaled_keys(call, scalers)
        return reweigh(q, keys, values, [one for one in acting if one not in scalers], mask, causal, scale, tokens, start)
    movers = [one for one in acting if moves_mass(one.rule)]
    benders = [one for one in acting if bends_rows(one.rule)]
    cells = Cells(movers, tokens.shape[1], call.keys) if movers else None
    bent = union_rows(benders, call.queries)
    out = among_chosen(call, choosers[0]) if choosers else None
    if many and cells is not None and not choosers and not torch.equal(bent, touched):
        out, touched = moved(call, movers, cells, touched), bent
    if not bool(touched.any()):
        assert out is not None
        return out
    together = any(one.rule.together for one in benders if bends_rows(one.rule))
    parts = written_out(call, acting, cells, hull(touched) if together else windows(touched, q, call.keys))
    if bool(touched.all()):
        return torch.cat([part for _, part in parts], 2).to(q.dtype)
    return replaced(attend(q, k, v, mask, causal, scale).out if out is None else out, parts)


def whole_row(call: Call, actives: list[Active]) -> Tensor:
    """Output [B, H, 1, Dv] of a call with one query, which all of the rules touch in all samples."""
    movers = [one for one in actives if moves_mass(one.rule)]
    cells = Cells(movers, call.tokens.shape[1], call.keys) if movers else None
    (_, out), = written_out(call, actives, cells, [slice(0, 1)])
    return out.to(call.q.dtype)


def moved(call: Call, actives: list[Active], cells: Cells, touched: Tensor) -> Tensor:
    """Attention under rules that move mass, which touch the rows `touched` [Q], on the fused kernel."""
    if call.queries > 1 and all(biases_scores(one.rule) for one in actives) and sorted(cells.sizes())[-2] > FEW:
        return channelled(call, actives)
    return replaced(*regrouped(call, cells, runs(touched)))


def check(call: Call, actives: Sequence[Active]) -> None:
    """ValueError where tokens, groups and call do not fit each other, and where rules cannot act together."""
    choosers = [active.rule for active in actives if chooses_keys(active.rule)]
    if len(choosers) > 1:
        raise ValueError(f"{choosers[0]!r} and {choosers[1]!r} both choose keys in layer {actives[0].layer}, and neither knows what the other "
                         "leaves; let them act in different layers")
    if choosers and (scaling := next((active.rule for active in actives if scales_scores(active.rule)), None)) is not None:
        raise ValueError(f"{scaling!r} gives the heads that share keys keys of their own, and {choosers[0]!r} chooses for all of them at "
                         "once; let them act in different layers")
    batch, heads, rows = call.q.shape[:3]
    length = call.tokens.shape[1]
    if call.tokens.shape[0] != batch or length < call.keys or call.start + rows > length:
        raise ValueError(f"the tokens {tuple(call.tokens.shape)} do not reach from the first of {call.keys} keys to the last of {rows} queries from "
                         f"{call.start}, for {batch} rows; pass the map of all tokens up to the last key")
    for active in actives:
        if active.rows is not None and active.rows.shape != (batch, rows):
            raise ValueError(f"the rows of {active.rule!r} are {tuple(active.rows.shape)}, and the call has {batch} rows of {rows} queries; "
                             "slice them to the queries of this call")
        if active.groups is not None and (active.groups.shape[0] != batch or (active.groups.dim() == 3 and active.groups.shape[1] != heads)):
            raise ValueError(f"the groups of {active.rule!r} are {tuple(active.groups.shape)}, and the call has {batch} rows and {heads} heads; "
                             "repeat them for beams, as the tokens")


def hull(rows: Tensor) -> list[slice]:
    """From the first to the last row that is True, as one window."""
    found = runs(rows)
    return [slice(found[0].start, found[-1].stop)]


def numbers_written_out(call: Call, rows: int) -> int:
    """What computing `rows` rows from explicit scores touches: their weights; and where keys must first be made precise, a quarter of them, except
    on a GPU (not measured), which does that faster than it starts more kernels.
    """
    precise = 0 if call.q.dtype == call.precision or call.q.is_cuda else call.k.numel() // 4
    return call.q.shape[0] * call.q.shape[1] * rows * call.keys + precise


def replaced(out: Tensor, windows: Iterable[tuple[slice, Tensor]]) -> Tensor:
    """`out` with windows of its rows exchanged."""
    kept = out  # by its kernel, for backward
    for window, part in windows:
        out = kept.clone() if out is kept and out.requires_grad else out
        out[:, :, window] = part.to(out.dtype)
    return out
