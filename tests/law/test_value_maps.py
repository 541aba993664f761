"""`attend` with a value map or a bias on the scores: the map form written out, on every kernel that takes it."""
import pytest
import torch
from torch import Tensor

from mm.attention import SDPA, Backend, Reference, attend


def operands(grad: bool = False) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8), (7, 7), (2, 1, 5, 7))
    return [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=grad) for shape in shapes]


def maps_of(q: Tensor, k: Tensor, bias: Tensor | None = None) -> Tensor:
    scores = q @ k.repeat_interleave(2, 1).transpose(-1, -2) / 8**0.5
    return (scores if bias is None else scores + bias).softmax(-1)


def test_a_value_map_is_the_map_with_mixed_columns() -> None:
    q, k, v, mapping, _ = operands()
    values = v.repeat_interleave(2, 1)
    assert (attend(q, k, v, value_map=mapping).out - maps_of(q, k) @ mapping @ values).abs().max() < 1e-12
    assert (attend(q, k, v, value_map=mapping[0]).out - maps_of(q, k) * mapping[0] @ values).abs().max() < 1e-12
    assert (attend(q, k, v, value_map=mapping.expand(2, 1, 7, 7)).out - maps_of(q, k) @ mapping @ values).abs().max() < 1e-12
    with pytest.raises(ValueError, match=r"value_map mixes 7 keys, .*; got \(5, 7\)"):
        attend(q, k, v, value_map=mapping[:5])


@pytest.mark.parametrize("backend", [None, SDPA(), Reference()], ids=["chosen", "sdpa", "reference"])
@pytest.mark.parametrize("need_lse", [False, True])
def test_a_bias_is_added_to_the_scores(backend: Backend | None, need_lse: bool) -> None:
    q, k, v, _, bias = operands()
    seen = torch.ones(5, 7, dtype=torch.bool)
    seen[1, 2:] = False
    masked = bias.masked_fill(~seen, -torch.inf)
    part = attend(q, k, v, mask=seen, log_bias=bias, need_lse=need_lse, backend=backend)
    assert (part.out - maps_of(q, k, masked) @ v.repeat_interleave(2, 1)).abs().max() < 1e-12
    if need_lse:
        scores = q @ k.repeat_interleave(2, 1).transpose(-1, -2) / 8**0.5
        assert part.lse is not None
        assert (part.lse - (scores + masked).logsumexp(-1)).abs().max() < 1e-12


def test_causality_and_a_bias_together() -> None:
    q, k, v, _, bias = operands()
    seen = torch.ones(5, 7, dtype=torch.bool).tril(2)
    found = attend(q, k, v, causal=True, log_bias=bias).out
    assert (found - maps_of(q, k, bias.masked_fill(~seen, -torch.inf)) @ v.repeat_interleave(2, 1)).abs().max() < 1e-12


def test_log_c_multiplies_a_key_by_c_and_renormalises() -> None:
    q, k, v, mapping, _ = operands()
    factors = mapping[0].abs()
    maps = maps_of(q, k) * factors
    maps = maps / maps.sum(-1, keepdim=True)
    assert (attend(q, k, v, log_bias=factors.log()).out - maps @ v.repeat_interleave(2, 1)).abs().max() < 1e-12


@pytest.mark.parametrize("need_lse", [False, True])
def test_maps_and_biases_have_gradients(need_lse: bool) -> None:
    def loss(fused: bool) -> list[Tensor]:
        q, k, v, mapping, bias = given = operands(grad=True)
        if fused:
            part = attend(q, k, v, value_map=mapping, log_bias=bias, need_lse=need_lse)
            total = part.out.square().sum() + (part.lse.sum() if part.lse is not None else 0)
        else:
            scores = q @ k.repeat_interleave(2, 1).transpose(-1, -2) / 8**0.5 + bias
            total = (scores.softmax(-1) @ (mapping @ v).repeat_interleave(2, 1)).square().sum() + (scores.logsumexp(-1).sum() if need_lse else 0)
        return list(torch.autograd.grad(total, given))

    for found, expected in zip(loss(True), loss(False), strict=True):
        assert (found - expected).abs().max() < 1e-11


def test_a_bias_that_cuts_a_row_off_gives_nothing() -> None:
    q, k, v, _, bias = operands()
    bias[0, 0, 3] = -torch.inf
    for backend in (SDPA(), Reference()):
        part = attend(q, k, v, log_bias=bias, need_lse=True, backend=backend)
        assert part.lse is not None
        assert torch.equal(part.lse[0, :, 3], torch.full((4,), -torch.inf, dtype=torch.float64))
        assert not part.out[0, :, 3].any()


def test_a_bool_bias_is_refused() -> None:
    q, k, v, _, bias = operands()
    with pytest.raises(ValueError, match=r"log_bias is added to the scores and must be floating; got torch.bool"):
        attend(q, k, v, log_bias=bias > 0)
