"""Rules for attention, the forms in which the engine may compute them, and what they are by definition, on dense weights."""
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from mm.attention import Active
from mm.attention.active import bends_rows, moves_mass, scales_scores
from mm.attention.reference import scores
from mm.reweight import ACT, CMAI, DARA, DMA, PAI, PAINT, VAR, HeadGate, Reweight, Rule, ZeroTuning
from mm.reweight.dma import Form as Choice
from mm.tokens import TokenMap
from tests.toys import random_qkv

PROMPT = "sss iiiiiiii qqqqq jjjj qqqqqqqq"
Form = Callable[[pytest.MonkeyPatch], None]


def written_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("mm.attention.engine.CROSSOVER", float("inf"))
    patch.setattr("mm.attention.rows.WEIGHTS", 0)
    patch.setattr("mm.attention.rows.FEWEST", 5)


def grouped_as_columns(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("mm.attention.engine.CROSSOVER", 0)
    patch.setattr("mm.attention.engine.FEW", float("inf"))


def grouped_by_calls(patch: pytest.MonkeyPatch) -> None:
    grouped_as_columns(patch)
    patch.setattr("mm.attention.grouped.FEW", 0)
    patch.setattr("mm.attention.grouped.TILE", 5)
    patch.setattr("mm.attention.grouped.MASKED", 4)


def channelled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("mm.attention.engine.CROSSOVER", 0)
    patch.setattr("mm.attention.engine.FEW", 0)


FORMS: list[Form] = [written_out, grouped_as_columns, grouped_by_calls]


class Quadratic(Reweight):
    """A rule without a gate, so that gradients are smooth: factors depend on masses of all its groups, and on sizes."""

    group_count = 3

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        return (tokens.depth * 7 + tokens.kind) % 3

    def weights(self, mass: Tensor, size: Tensor) -> Tensor:
        return torch.stack([1 + mass[1] * mass[2], 1 - mass[0].square() / 2, (0.1 * size[2]).cos().expand_as(mass[0])])


class PerHead(Quadratic):
    """Groups of its own for each head."""

    def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        return torch.stack([(tokens.depth * (3 + head) + tokens.kind) % 3 for head in range(4)], dim=1)


def var(**options: float) -> VAR:
    return VAR((), **{"min_image_mass": 0.05, "max_sink_share": 0.9, **options})  # type: ignore[arg-type]


def var_groups(tokens: TokenMap) -> Tensor:
    """Every fifth token is a sink."""
    sink = tokens.is_real & (tokens.depth % 5 == 0)
    return torch.where(tokens.is_vision, torch.where(sink, 2, 3), torch.where(sink, 1, 0))


def dara() -> DARA:
    rule = DARA(images=2, layers=(2,), heads=4)
    with torch.no_grad():
        rule.factor.copy_(torch.linspace(0.5, 1.7, rule.factor.numel()).view_as(rule.factor))  # type: ignore[union-attr]
    return rule.double()


def paint(tokens: TokenMap) -> PAINT:
    most = int(tokens.is_vision.sum(1).max())
    return PAINT().on((torch.arange(most) % 3).expand(tokens.shape[0], -1))


def dma(window: int = 5, block: int | None = None, form: Choice = "per_query", layers: int = 3) -> DMA:
    """With parameters as training might leave them."""
    rule = DMA(window, block, form)
    torch.manual_seed(0)
    rule.bind(layers, heads=4)
    rule.measure(key_heads=2, width=8)
    with torch.no_grad():
        rule.strength.normal_(std=2.0)  # type: ignore[union-attr]
    return rule


def active(rule: Rule, tokens: TokenMap, queries: int | None = None) -> Active:
    start = 0 if queries is None else tokens.shape[1] - queries
    columns = torch.rand(tokens.shape[0], 4, tokens.shape[1], generator=torch.Generator().manual_seed(0))
    groups = var_groups(tokens) if isinstance(rule, VAR) else rule.groups(tokens, 2, columns=columns)
    return Active(rule, groups, rule.rows(tokens)[:, start:], rule.head_mask(2, 4), 2)


RULES: dict[str, Callable[[TokenMap], list[Rule]]] = {
    "var": lambda tokens: [var()],
    "act": lambda tokens: [ACT(threshold=0.7, heads=[(2, 0), (2, 3)])],
    "zerotuning": lambda tokens: [ZeroTuning(0.4)],
    "a span": lambda tokens: [ZeroTuning(3.0, span=(2, 11), heads=[(2, 1), (2, 2)])],
    "dara": lambda tokens: [dara()],
    "pai": lambda tokens: [PAI(0.3)],
    "paint": lambda tokens: [paint(tokens)],
    "cmai": lambda tokens: [CMAI()],
    "cmai that weakens": lambda tokens: [CMAI(0.3, keep=0.2)],
    "head gate": lambda tokens: [HeadGate(layer=2)],
    "smooth": lambda tokens: [Quadratic()],
    "smooth, per head": lambda tokens: [PerHead()],
    "three that move mass": lambda tokens: [var(), Quadratic(), ZeroTuning(0.4)],
    "two that move mass, per head": lambda tokens: [PerHead(), var()],
    "one of each kind": lambda tokens: [ZeroTuning(2.0), PAI(0.3), dara(), var()],
}


def dense(q: Tensor, k: Tensor, v: Tensor, actives: Sequence[Active], tokens: TokenMap, seen: Tensor) -> Tensor:
    """Rules as they are defined, on Q x N weights in float64; the queries are the last tokens. seen: bool [B, 1 or H, Q, N]."""
    q, k, v = (x.double() for x in (q, k, v))
    batch, heads, rows, _ = q.shape
    start, length = tokens.shape[1] - rows, tokens.shape[1]
    logits = scores(q, k)

    def table(one: Active) -> Tensor:
        assert one.groups is not None
        groups = one.groups if one.groups.dim() == 3 else one.groups[:, None].expand(-1, heads, -1)
        return torch.nn.functional.pad(groups, (0, length - groups.shape[-1]), value=one.rule.decoded_group)

    def touched(one: Active) -> Tensor:
        where = torch.ones(batch, rows, dtype=torch.bool) if one.rows is None else one.rows
        which = torch.ones(heads, dtype=torch.bool) if one.heads is None else one.heads
        return where[:, None, :, None] & which[:, None, None]

    for one in actives:
        if scales_scores(one.rule):
            factors = one.rule.scales(one.layer).expand(batch, -1, -1).gather(2, table(one))
            logits = logits * factors.double()[:, :, None]
    logits = logits.masked_fill(~seen, -torch.inf)
    for one in actives:
        if bends_rows(one.rule):
            groups = None if one.groups is None else table(one)[:, :1]
            logits = torch.where(touched(one), one.rule.logits(logits, tokens[:, start:], tokens, groups), logits)
    reads = ~logits.isneginf().all(-1, keepdim=True)
    weights = logits.masked_fill(~reads, 0.0).softmax(-1) * reads
    for one in actives:
        if moves_mass(one.rule):
            member = torch.stack([table(one) == group for group in range(one.rule.group_count)])[:, :, :, None]
            factors = one.rule.weights((weights * member).sum(-1), (seen & member).sum(-1).double())
            weights = torch.where(touched(one), weights * (factors.unsqueeze(-1) * member).sum(0), weights)
    return weights @ v.repeat_interleave(heads // v.shape[1], 1)


def causal(tokens: TokenMap) -> Tensor:
    length = tokens.shape[1]
    return torch.ones(length, length, dtype=torch.bool).tril()[None, None]


def inputs_for(tokens: TokenMap, seed: int = 0, **options: object) -> tuple[Tensor, Tensor, Tensor]:
    length = tokens.shape[1]
    settings = {"batch": tokens.shape[0], "queries": length, "keys": length} | options
    q, k, v = random_qkv(seed=seed, **settings)  # type: ignore[arg-type]
    return q, k, v
