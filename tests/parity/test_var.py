"""VAR against the vectors of its original implementation, and what the published method means where that implementation does otherwise."""
import pytest
import torch
from torch import Tensor

from mm.attention import Active, reweigh, reweighted
from mm.reweight import VAR
from mm.reweight.sinks import massive_activation
from mm.tokens import TokenMap
from tests.golden import load
from tests.toys import row

CASES = ["var_prefill", "var_general_rho", "var_no_visual_sink", "var_image_first"]


def tokens_of(golden: object, length: int) -> TokenMap:
    start, size = int(golden.im), int(golden.vis_len)  # type: ignore[attr-defined]
    return row("s" * start + "i" * size + "q" * (length - start - size))


def rule_of(golden: object, **others: float) -> VAR:
    """rho and p as the released code means them."""
    return VAR(tuple(getattr(golden, "dims", torch.tensor([])).tolist()), sink_keep=float(golden.p),  # type: ignore[attr-defined]
               max_sink_share=float(golden.rho), min_image_mass=float(golden.summ), **others)  # type: ignore[attr-defined]


def groups_of(tokens: TokenMap, sinks: Tensor) -> Tensor:
    sink = torch.zeros_like(tokens.is_vision)
    sink[0, sinks] = True
    return torch.where(tokens.is_vision, torch.where(sink, 2, 3), torch.where(sink, 1, 0))


@pytest.mark.parametrize("case", CASES)
def test_equals_the_original(case: str) -> None:
    golden = load("reweight", case)
    q, k, v = (x.double() for x in (golden.q, golden.k, golden.v))
    tokens = tokens_of(golden, q.shape[2])
    rule = rule_of(golden, threshold=float(golden.tau))
    out = reweighted(q, k, v, [rule], tokens, hidden=golden.hidden, layer=2)
    torch.testing.assert_close(out, golden.out, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_finds_the_sinks_of_the_original(case: str) -> None:
    golden = load("reweight", case)
    tokens = tokens_of(golden, golden.k.shape[2])
    size = massive_activation(golden.hidden, golden.dims.tolist(), tokens, 20.0)
    torch.testing.assert_close(size, golden.phi)
    assert (size[0] > golden.tau).nonzero().flatten().tolist() == golden.sink_idx.tolist()


def test_equals_the_original_while_decoding() -> None:
    golden = load("reweight", "var_decode")
    tokens = tokens_of(golden, golden.k.shape[2])
    out = reweigh(golden.q.double(), golden.k.double(), golden.v.double(), [Active(rule_of(golden), groups_of(tokens, golden.sink_idx))],
                  None, False, None, tokens, 64)
    torch.testing.assert_close(out, golden.out, rtol=0, atol=1e-12)


class Leaked(VAR):
    """A later sample of a process that runs the released code: image rows are rewritten too, by sinks that they cannot see."""

    def weights(self, mass: Tensor, size: Tensor) -> Tensor:
        return super().weights(mass, size[..., -1:])


def test_every_row_may_be_touched_as_in_later_samples_of_the_released_code() -> None:
    golden = load("reweight", "var_all_rows")
    tokens = tokens_of(golden, golden.k.shape[2])
    rule = Leaked((), sink_keep=float(golden.p), max_sink_share=float(golden.rho), min_image_mass=float(golden.summ))
    inputs = (x.double() for x in (golden.q, golden.k, golden.v))
    out = reweigh(*inputs, [Active(rule, groups_of(tokens, golden.sink_idx))], None, True, None, tokens, 0)
    torch.testing.assert_close(out, golden.out, rtol=0, atol=1e-12)


def test_without_a_visual_sink_nothing_happens() -> None:
    golden = load("reweight", "var_no_visual_sink")
    inputs, tokens = (golden.q, golden.k, golden.v), tokens_of(golden, golden.k.shape[2])
    assert torch.equal(reweighted(*inputs, [rule_of(golden)], tokens, hidden=golden.hidden), reweighted(*inputs, [], tokens))


@pytest.mark.parametrize("case", CASES)
def test_in_single_precision_it_is_the_original_too(case: str) -> None:
    golden = load("reweight", case)
    out = reweighted(golden.q, golden.k, golden.v, [rule_of(golden)], tokens_of(golden, golden.k.shape[2]), hidden=golden.hidden)
    torch.testing.assert_close(out.double(), golden.out, rtol=0, atol=5e-6)


def test_presets_say_what_paper_and_code_mean_by_the_same_letters() -> None:
    """The paper's p is what sinks lose and its rho what the rest must hold; the code's p is what sinks keep and its rho what sinks may hold."""
    paper, released = VAR.paper(rho=0.8), VAR.released()
    assert (paper.sink_keep, released.sink_keep) == (0.4, 0.6)
    assert paper.max_sink_share == pytest.approx(0.2)
    assert released.max_sink_share == 0.5
    for rule in (paper, released):
        rule.bind(layers=32, heads=32)
    assert [layer for layer in range(32) if not paper.applies(layer)] == [0, 1, 31]
    assert [layer for layer in range(32) if not released.applies(layer)] == [0, 1]
