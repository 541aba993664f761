"""Rules inside attention: every form is the dense reference, a neutral rule the plain model to the bit, and the layout of a batch does not matter."""
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mm.attention import Active, Call, Visibility, attend, column_means, found_groups, reweigh, reweighted
from mm.attention.active import bends_rows, moves_mass, scales_scores
from mm.attention.reference import scores
from mm.masks import Causal, ImageBlock
from mm.reweight import ACT, CMAI, DARA, PAI, PAINT, VAR, LogitScale, Reweight, Rule, ZeroTuning
from mm.tokens import TokenMap
from tests.toys import batch, random_qkv, row

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


def dara(heads: int = 4) -> DARA:
    rule = DARA(images=2, layers=(2,), heads=heads)
    with torch.no_grad():
        rule.factor.copy_(torch.linspace(0.5, 1.7, rule.factor.numel()).view_as(rule.factor))  # type: ignore[union-attr]
    return rule.double()


def paint(tokens: TokenMap) -> PAINT:
    most = int(tokens.is_vision.sum(1).max())
    return PAINT().on((torch.arange(most) % 3).expand(tokens.shape[0], -1))


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
    weights = logits.masked_fill(~seen.any(-1, keepdim=True), 0.0).softmax(-1) * seen.any(-1, keepdim=True)
    for one in actives:
        if moves_mass(one.rule):
            member = torch.stack([table(one) == group for group in range(one.rule.group_count)])[:, :, :, None]
            factors = one.rule.weights((weights * member).sum(-1), (seen & member).sum(-1).double())
            weights = torch.where(touched(one), weights * (factors.unsqueeze(-1) * member).sum(0), weights)
    return weights @ v.repeat_interleave(heads // v.shape[1], 1)


def causal(tokens: TokenMap, queries: int | None = None) -> Tensor:
    length = tokens.shape[1]
    return torch.ones(length, length, dtype=torch.bool).tril()[None, None, length - (queries or length):]


def inputs_for(tokens: TokenMap, seed: int = 0, **options: object) -> tuple[Tensor, Tensor, Tensor]:
    length = tokens.shape[1]
    settings = {"batch": tokens.shape[0], "queries": length, "keys": length} | options
    q, k, v = random_qkv(seed=seed, **settings)  # type: ignore[arg-type]
    return q, k, v


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rules", RULES)
def test_every_form_is_the_dense_composition_in_list_order(rules: str, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    tokens = row(PROMPT)
    for key_heads, mask in ((4, None), (2, None), (2, Visibility(ImageBlock(), tokens, slice(0, 28), slice(0, 28))), (2, causal(tokens))):
        inputs = inputs_for(tokens, key_heads=key_heads)
        actives = [active(rule, tokens) for rule in RULES[rules](tokens)]
        seen = mask.dense() if isinstance(mask, Visibility) else causal(tokens)
        wanted = dense(*inputs, actives, tokens, seen)
        assert (wanted - dense(*inputs, [], tokens, seen)).abs().max() > 1e-3
        found = reweigh(*inputs, actives, mask, mask is None, None, tokens, 0)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rules", [name for name in RULES if not name.startswith("cmai")])
def test_gradients_of_every_form_are_those_of_the_dense_composition(rules: str, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through masses, gates strictly open or shut, and factors that are learned."""
    form(monkeypatch)
    tokens = row(PROMPT)
    found = []
    for engine in (True, False):
        inputs = inputs_for(tokens, seed=3, grad=True)
        chosen = RULES[rules](tokens)
        actives = [active(rule, tokens) for rule in chosen]
        out = reweigh(*inputs, actives, None, True, None, tokens, 0) if engine else dense(*inputs, actives, tokens, causal(tokens))
        learned = [rule.factor for rule in chosen if isinstance(rule, DARA) and rule.factor is not None]
        found.append(torch.autograd.grad((out.sin() * torch.linspace(-1, 1, out.numel()).view_as(out)).sum(), [*inputs, *learned]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
        assert b.abs().max() > 0


@pytest.mark.parametrize("rules", ["zerotuning", "a span"])
def test_constant_weights_are_channels_of_one_plain_call(rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    channelled(monkeypatch)
    tokens = row(PROMPT)
    found = []
    for engine in (True, False):
        inputs = inputs_for(tokens, seed=4, value_width=5, grad=True)
        actives = [active(rule, tokens) for rule in (*RULES[rules](tokens), ZeroTuning(1.7, span=(3, 9)))]
        out = reweigh(*inputs, actives, None, True, None, tokens, 0) if engine else dense(*inputs, actives, tokens, causal(tokens))
        found.append([out, *torch.autograd.grad(out.sin().sum(), inputs)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("form", [*FORMS, channelled], ids=lambda form: form.__name__)
def test_in_low_precision_masses_stay_precise(form: Form, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    tokens = row(PROMPT)
    inputs = tuple(x.to(dtype) for x in inputs_for(tokens))
    tolerance = {torch.float32: 5e-6, torch.bfloat16: 2e-2, torch.float16: 4e-3}[dtype]
    for rules in ([ZeroTuning(0.05)], [PerHead(), ZeroTuning(0.4)], [PAI(0.3)]):
        actives = [active(rule, tokens) for rule in rules]  # type: ignore[attr-defined]
        found = reweigh(*inputs, actives, None, True, None, tokens, 0)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), dense(*inputs, actives, tokens, causal(tokens)), rtol=0, atol=tolerance)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_sink_that_holds_nearly_everything_costs_no_digits(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is multiplied by thousands; taking the sink's part off the whole would leave noise."""
    form(monkeypatch)
    tokens = row("..." + "q" * 40)
    mask = Visibility(Causal(), tokens, slice(0, 43), slice(0, 43))
    q, k, v = (x.float() for x in inputs_for(tokens, key_heads=2))
    k[:, :, 8] = 0.0
    k[:, :, 8, 0] = 14.0
    q[..., 0] = 3.0
    groups = torch.zeros(1, 4, 43, dtype=torch.long)
    groups[..., 8] = 1
    groups[:, 3, 9] = 1
    one = Active(ACT(0.1), groups)
    for seen in (causal(tokens), mask.dense()):
        mass = dense(q, k, torch.eye(43).expand(1, 2, -1, -1), [], tokens, seen)[:, :3, 9:, 8]
        assert mass.median() > 0.999
        found = reweigh(q, k, v, [one], mask if seen[0, 0, 3, :3].sum() == 0 else None, seen[0, 0, 3, 0].item(), None, tokens, 0)
        torch.testing.assert_close(found.double(), dense(q, k, v, [one], tokens, seen), rtol=0, atol=5e-6)


NEUTRAL: dict[str, Callable[[TokenMap], Rule]] = {
    "var": lambda tokens: var(sink_keep=1.0), "act": lambda tokens: ACT(sink_keep=1.0), "zerotuning": lambda tokens: ZeroTuning(1.0),
    "dara": lambda tokens: DARA(layers=(2,), heads=4), "pai": lambda tokens: PAI(0.0), "paint": lambda tokens: PAINT(0.0, 0.0),
    "cmai": lambda tokens: CMAI(quantile=0.0), "cmai that keeps all": lambda tokens: CMAI(keep=1.0)}


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_neutral_rule_is_the_plain_model_to_the_bit(name: str) -> None:
    tokens = row(PROMPT)
    inputs = tuple(x.float() for x in inputs_for(tokens))
    rule = NEUTRAL[name](tokens)
    groups = torch.zeros_like(tokens.kind)
    with torch.no_grad():
        found = reweigh(*inputs, [Active(rule, groups, layer=2)], None, True, None, tokens, 0)
        assert torch.equal(found, attend(*inputs, causal=True).out)


def test_layers_and_rows_that_no_rule_touches_are_the_plain_model_to_the_bit() -> None:
    tokens = row(PROMPT)
    inputs = tuple(x.float() for x in inputs_for(tokens))
    plain = attend(*inputs, causal=True).out
    assert torch.equal(reweighted(*inputs, [PAI(), CMAI(), dara()], tokens, layer=1), plain)
    assert torch.equal(reweighted(*inputs, [CMAI(first_layer=0)], row("qqqq" * 7), layer=1), plain)
    assert torch.equal(reweighted(*inputs, [PAI()], tokens)[:, :, :-1], plain[:, :, :-1])
    groups = var_groups(tokens)
    found = reweigh(*inputs, [Active(var(), groups, tokens.follows_vision)], None, True, None, tokens, 0)
    assert torch.equal(found[:, :, :11], plain[:, :, :11])
    assert not torch.equal(found, plain)


def test_a_head_that_a_rule_does_not_touch_is_plain() -> None:
    tokens = row(PROMPT)
    inputs = inputs_for(tokens)
    found = reweighted(*inputs, [ZeroTuning(0.3, heads=[(2, 1), (3, 0)])], tokens)
    plain = attend(*inputs, causal=True).out
    torch.testing.assert_close(found[:, [0, 2, 3]], plain[:, [0, 2, 3]], rtol=0, atol=1e-12)
    assert (found - plain)[:, 1].abs().max() > 1e-3


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_gate_that_stays_shut_changes_nothing(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    tokens = row(PROMPT)
    inputs = tuple(x.float() for x in inputs_for(tokens))
    shut = Active(var(min_image_mass=1.0), var_groups(tokens), tokens.follows_vision)
    torch.testing.assert_close(reweigh(*inputs, [shut], None, True, None, tokens, 0), attend(*inputs, causal=True).out, rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rules", ["var", "act", "zerotuning", "a span", "dara", "pai", "paint", "cmai"])
def test_rows_still_sum_to_one(rules: str, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    tokens = row(PROMPT)
    q, k, v = inputs_for(tokens)
    out = reweigh(q, k, torch.ones_like(v), [active(rule, tokens) for rule in RULES[rules](tokens)], None, True, None, tokens, 0)
    torch.testing.assert_close(out, torch.ones_like(out), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rules", ["var", "act", "zerotuning", "smooth, per head", "dara", "pai", "paint"])
def test_keys_may_stand_in_any_order(rules: str) -> None:
    """With their groups: what the last row computes does not depend on where a key is."""
    tokens = row(PROMPT)
    q, k, v = inputs_for(tokens, queries=1)
    actives = [active(rule, tokens, queries=1) for rule in RULES[rules](tokens)]
    order = torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(0))
    shuffled = [replace(one, groups=None if one.groups is None else one.groups[..., order]) for one in actives]
    found = reweigh(q, k, v, actives, None, False, None, tokens, 27)
    torch.testing.assert_close(reweigh(q, k[:, :, order], v[:, :, order], shuffled, None, False, None, tokens, 27), found, rtol=0, atol=1e-12)


ANSWERED = PROMPT + "aaaa"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rules", RULES)
def test_a_decoding_step_is_the_row_of_one_forward_pass(rules: str, form: Form, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups are found when the prompt is read; decoded keys join the decoded group, and groups of the prompt stay."""
    form(monkeypatch)
    prompt, tokens = row(PROMPT), row(ANSWERED)
    q, k, v = (x.to(dtype) for x in inputs_for(tokens))
    chosen = RULES[rules](prompt)
    groups = [active(rule, prompt).groups for rule in chosen]

    def read(start: int, stop: int) -> Tensor:
        upto = tokens[:, :stop]
        actives = [Active(rule, found, rule.rows(upto)[:, start:], rule.head_mask(2, 4), 2) for rule, found in zip(chosen, groups, strict=True)]
        return reweigh(q[:, :, start:stop], k[:, :, :stop], v[:, :, :stop], actives, None, stop - start > 1, None, upto, start)

    whole = read(0, 32)
    tolerance = {torch.float64: 1e-12, torch.bfloat16: 4e-2}[dtype]
    for start, stop in ((0, 28), (28, 29), (29, 30), (30, 31), (31, 32)):
        torch.testing.assert_close(read(start, stop), whole[:, :, start:stop], rtol=0, atol=tolerance)


SINGLES = ["ss iiiiii qqqqqqq", "s iiii qqq jjjj qqqqq", "qqqqqqqqqqqq", "iiiiiiiiii qqqqq"]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("rules", RULES)
def test_a_padded_batch_is_its_rows_alone(rules: str, left: bool, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    tokens = batch(*SINGLES, left=left)
    whole = slice(0, tokens.shape[1])
    together = inputs_for(tokens)
    chosen = RULES[rules](tokens)
    groups = [active(rule, tokens).groups for rule in chosen]
    out = reweigh(*together, [Active(rule, found, rule.rows(tokens), rule.head_mask(2, 4), 2) for rule, found in zip(chosen, groups, strict=True)],
                  Visibility(Causal(), tokens, whole, whole), False, None, tokens, 0)
    for index, text in enumerate(SINGLES):
        alone = row(text)
        real = tokens.is_real[index]
        inputs = [x[index:index + 1, :, real] for x in together]
        actives = [Active(rule, None if found is None else found[index:index + 1, ..., real], rule.rows(alone), rule.head_mask(2, 4), 2)
                   for rule, found in zip(chosen, groups, strict=True)]
        torch.testing.assert_close(out[index:index + 1, :, real], reweigh(*inputs, actives, None, True, None, alone, 0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("rules", ["var", "zerotuning", "pai", "cmai", "dara", "three that move mass"])
def test_packed_documents_do_not_see_each_other(rules: str, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    form(monkeypatch)
    texts = ["ss iiiiii qqqq", "s iiii qqq jj qqa", "iiiii qq"]
    tokens = row("/".join(texts))
    whole = slice(0, tokens.shape[1])
    together = inputs_for(tokens)
    chosen = RULES[rules](tokens)
    out = reweigh(*together, [active(rule, tokens) for rule in chosen], Visibility(Causal(), tokens, whole, whole), False, None, tokens, 0)
    for index, text in enumerate(texts):
        here = tokens.document[0] == index
        alone = row(text)
        found = reweigh(*(x[:, :, here] for x in together), [active(rule, alone) for rule in chosen], None, True, None, alone, 0)
        torch.testing.assert_close(out[:, :, here], found, rtol=0, atol=1e-12)


def test_the_second_sample_does_not_remember_the_first() -> None:
    """The released code of VAR does: sinks and rows of a process's first picture stay for all that follow."""
    first, second = row("sss iiiiiiii qqqqq"), row("s iiiiii qqqqqqqqqq")
    rules = [VAR(sink_channels=(1, 2), threshold=3.0, min_image_mass=0.01, max_sink_share=0.9), ACT(threshold=0.05), PAI()]
    generator = torch.Generator().manual_seed(0)
    states = {tokens: torch.randn(1, tokens.shape[1], 512, generator=generator) for tokens in (first, second)}
    for tokens, sinks in ((first, [0, 4]), (second, [0, 2, 5])):
        states[tokens][0, sinks, 1] = 400.0
    inputs = {tokens: inputs_for(tokens) for tokens in (first, second)}

    def run(tokens: TokenMap) -> Tensor:
        return reweighted(*inputs[tokens], rules, tokens, hidden=states[tokens])

    alone = run(second)
    assert not torch.allclose(alone, reweighted(*inputs[second], rules[1:], second), atol=1e-6)
    run(first)
    assert torch.equal(run(second), alone)


class Allocations(TorchDispatchMode):
    """The most elements that an operation has returned in one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        out = func(*args, **kwargs or {})
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("rules", ["var", "act", "zerotuning", "a span", "three that move mass", "dara", "pai", "one of each kind"])
def test_no_form_allocates_rows_by_keys(rules: str, learns: bool) -> None:
    length = 1536
    tokens = row("s" * 20 + "i" * 256 + "q" * (length - 276))
    inputs = tuple(x.float().requires_grad_(learns) for x in inputs_for(tokens, heads=4, key_heads=2))
    actives = [active(rule, tokens) for rule in RULES[rules](tokens)]
    with Allocations() as allocations:
        out = reweigh(*inputs, actives, None, True, None, tokens, 0)
        if learns:
            out.sum().backward()
    assert 0 < allocations.largest < length * length / 2


def test_finding_groups_streams_the_columns() -> None:
    length = 1536
    tokens = row("q" * length)
    call = Call(*(x.float() for x in inputs_for(tokens)), None, True, None, tokens, 0)
    with Allocations() as allocations:
        found_groups(ACT(threshold=1e-4, heads=[(2, 0)]), call, 2)
    assert allocations.largest < length * length / 2


def test_column_means_are_those_of_the_matrix() -> None:
    tokens = batch("ss iiii qqqqq", "s iiiiiiii qqqq", left=True)
    length = tokens.shape[1]
    q, k, v = inputs_for(tokens)
    seen = Causal().dense(tokens)
    weights = dense(q, k, torch.eye(length, dtype=torch.float64).expand(2, 4, -1, -1), [], tokens, seen)
    wanted = weights.sum(2) / seen.sum(2)
    for mask in (seen, Visibility(Causal(), tokens, slice(0, length), slice(0, length))):
        call = Call(q, k, v, mask, False, None, tokens, 0)
        torch.testing.assert_close(column_means(call), wanted, rtol=0, atol=1e-12)
        some = column_means(call, torch.tensor([False, True, False, True]))
        torch.testing.assert_close(some[:, [1, 3]], wanted[:, [1, 3]], rtol=0, atol=1e-12)
        assert (some[:, [0, 2]] == 0).all()


def test_under_autocast_a_rule_computes_on_what_the_plain_kernel_would() -> None:
    tokens = row(PROMPT)
    inputs = tuple(x.float() for x in inputs_for(tokens))
    for rules in ([var()], [PAI(0.3)], [dara()], [Quadratic()]):
        actives = [active(rule, tokens) for rule in rules]  # type: ignore[attr-defined]
        with torch.autocast("cpu", torch.bfloat16):
            found = reweigh(*inputs, actives, None, True, None, tokens, 0)
        assert torch.equal(found, reweigh(*(x.bfloat16() for x in inputs), actives, None, True, None, tokens, 0))


def test_what_does_not_fit_is_named() -> None:
    tokens = row(PROMPT)
    q, k, v = inputs_for(tokens)
    one = Active(Quadratic(), Quadratic().groups(tokens, 2))
    with pytest.raises(ValueError, match="do not reach from the first of 28 keys"):
        reweigh(q, k, v, [one], None, True, None, tokens[:, 1:], 0)
    with pytest.raises(ValueError, match=r"the rows of Quadratic\(\) are \(1, 27\), and the call has 1 rows of 28 queries"):
        reweigh(q, k, v, [replace(one, rows=tokens.is_real[:, 1:])], None, True, None, tokens, 0)
    with pytest.raises(ValueError, match=r"the groups of Quadratic\(\) are \(3, 28\), and the call has 1 rows"):
        reweigh(q, k, v, [replace(one, groups=one.groups.expand(3, -1))], None, True, None, tokens, 0)  # type: ignore[union-attr]

    class Outside(Quadratic):
        def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
            return tokens.index

    with pytest.raises(ValueError, match="gave groups from 0 to 27; it has groups 0 to 2"):
        reweighted(q, k, v, [Outside()], tokens)

    class Floating(Quadratic):
        def groups(self, tokens: TokenMap, layer: int, hidden: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
            return tokens.index.float()

    with pytest.raises(ValueError, match=r"gave groups torch.float32 \(1, 28\)"):
        reweighted(q, k, v, [Floating()], tokens)


def test_a_key_that_outgrows_half_precision_is_an_error_and_not_a_nan() -> None:
    tokens = row(PROMPT)
    q, k, v = (x.half() for x in inputs_for(tokens))
    k[:, :, 5] = 5e4
    rule = dara()
    assert isinstance(rule, LogitScale)
    with pytest.raises(OverflowError, match="which float16 cannot hold; run the model in bfloat16"):
        reweigh(q, k, v, [active(rule, tokens)], None, True, None, tokens, 0)
