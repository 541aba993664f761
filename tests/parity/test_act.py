"""ACT against the vectors of its released code, whose decoding is recorded for what it does and not followed."""
import torch
from torch import Tensor

from mm.attention import Active
from mm.reweight import ACT
from tests.golden import load
from tests.parity.engine import through_engine
from tests.toys import row


def rule_and_groups(golden: object) -> tuple[ACT, Tensor]:
    rule = ACT(float(golden.beta), float(golden.thres), [(2, int(head)) for head in golden.heads])  # type: ignore[attr-defined]
    weights = load("reweight", "act_prefill").attn_in
    length = weights.shape[-1]
    columns = weights.sum(2) / torch.arange(length, 0, -1)
    groups = rule.groups(row("q" * length), 2, columns=columns)
    assert groups is not None
    return rule, groups


def test_equals_the_original_prefill() -> None:
    golden = load("reweight", "act_prefill")
    rule, groups = rule_and_groups(golden)
    tokens = row("q" * golden.attn_in.shape[-1])
    out = through_engine(golden.attn_in, [Active(rule, groups, heads=rule.head_mask(2, 4))], tokens)
    torch.testing.assert_close(out, golden.attn_out, rtol=0, atol=1e-12)
    assert (out - golden.attn_in).abs().max() > 0.05


def released_decoding_step(weights: Tensor, keep: float, threshold: float) -> Tensor:
    """One head's row [N] as the released code decodes it: sinks are whatever is large now, what they lose is spread over all keys, token 0 gets 1."""
    sinks = (weights > threshold).nonzero().flatten()[1:]
    out = weights.clone()
    out[sinks] *= keep
    out += (1 - keep) * weights[sinks].sum() * weights
    out[0] = 1.0
    return out


def test_decoding_departs_from_the_released_code_whose_rows_do_not_sum_to_one() -> None:
    golden = load("reweight", "act_decode")
    rule, groups = rule_and_groups(golden)
    recorded = golden.attn_out[0, :, 0]
    for head in golden.heads.tolist():
        found = released_decoding_step(golden.attn_in[0, head, 0], rule.sink_keep, rule.threshold)
        torch.testing.assert_close(found, recorded[head], rtol=0, atol=1e-12)
        assert abs(float(recorded[head].sum()) - 1) > 0.3
    out = through_engine(golden.attn_in, [Active(rule, groups, heads=rule.head_mask(2, 4))], row("q" * 40), start=39)
    torch.testing.assert_close(out.sum(-1), torch.ones_like(out.sum(-1)), rtol=0, atol=1e-12)
    assert not torch.equal(out, golden.attn_in)
