"""Attention pairs and kernels: every backend is the dense reference, every merge the softmax over the union, in values and gradients."""
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.attention import SDPA, AttentionPart, Backend, Products, Reference, attend, masses, merge
from mm.attention.fused import columns
from tests.attention import DEVICES, TOLERANCE, close, finite, values_and_gradients
from tests.toys import random_mask, random_qkv

SHAPES = {
    "square": {"queries": 7, "keys": 7},
    "continued prefill": {"queries": 3, "keys": 9},
    "decoding": {"queries": 1, "keys": 9},
    "more queries than keys": {"queries": 6, "keys": 4},
    "narrow values": {"value_width": 5},
    "wide values": {"value_width": 12},
    "one key head": {"key_heads": 1},
    "no grouping": {"key_heads": 4},
    "odd head width": {"width": 13},
    "longer than a kernel block": {"queries": 70, "keys": 600, "batch": 1},
}


def assert_is_the_reference(backend: Backend | None, shape: str, dtype: torch.dtype, need_lse: bool, device: str = "cpu") -> None:
    inputs = tuple(x.to(device) for x in random_qkv(seed=1, dtype=dtype, **SHAPES[shape]))
    exact = tuple(x.double() for x in inputs)
    rows, keys = inputs[0].shape[2], inputs[1].shape[2]
    masks = [None, random_mask(2, inputs[0].shape[0], 1, rows, keys, empty=True).to(device), random_mask(3, 1, 4, rows, keys).to(device)]
    for mask, causal in itertools.product(masks, (False, True)):
        wanted = values_and_gradients(Reference(), exact, mask, causal, need_lse)
        close(values_and_gradients(backend, inputs, mask, causal, need_lse), wanted, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("need_lse", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_fused_attention_is_the_dense_reference(shape: str, dtype: torch.dtype, need_lse: bool, device: str) -> None:
    backend = SDPA() if device == "cpu" else None  # the CUDA kernel leaves double precision to the reference
    assert_is_the_reference(backend, shape, dtype, need_lse, device)


@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_the_dense_reference(shape: str) -> None:
    assert_is_the_reference(Products(), shape, torch.bfloat16, need_lse=False)


def test_gradcheck_of_output_and_lse() -> None:
    q, k, v = random_qkv(seed=4, batch=1, heads=2, key_heads=1, queries=3, keys=5, width=4, grad=True)
    mask = random_mask(5, 1, 1, 3, 5)
    for backend in (SDPA(), Reference()):
        assert torch.autograd.gradcheck(lambda q, k, v, b=backend: tuple(attend(q, k, v, mask, need_lse=True, backend=b)), (q, k, v))


def test_gradient_through_lse_alone() -> None:
    """With no gradient on the output, a correction by division through it would fail."""
    grads = []
    for backend in (SDPA(), Reference()):
        q, k, v = random_qkv(seed=6, grad=True)
        part = attend(q, k, v, causal=True, need_lse=True, backend=backend)
        grads.append(torch.autograd.grad(part.lse.sum(), (q, k)))
    close(list(grads[0]), list(grads[1]), torch.float64)


def test_gradient_of_the_lse_is_not_rounded_to_the_output_dtype() -> None:
    value = torch.tensor([1.0009765, -3.1415927, 1e-4])
    assert torch.equal(columns(value, torch.bfloat16).float().sum(-1), value)


def test_row_that_sees_nothing_is_zero_and_minus_infinity() -> None:
    q, k, v = random_qkv(seed=7, dtype=torch.float32, grad=True)
    mask = torch.ones(2, 1, 7, 7, dtype=torch.bool)
    mask[0, :, 3] = False
    for backend in (SDPA(), Reference()):
        out, lse = attend(q, k, v, mask, need_lse=True, backend=backend)
        assert (out[0, :, 3] == 0).all()
        assert (lse[0, :, 3] == -torch.inf).all()
        assert lse.isinf().sum() == 4
        for grad in torch.autograd.grad((merge([AttentionPart(out, lse)]).out).sum(), (q, k, v)):
            assert grad.isfinite().all()


def test_causal_is_aligned_to_the_last_key() -> None:
    q, k, v = random_qkv(seed=8, queries=7, keys=7)
    whole = attend(q, k, v, causal=True, need_lse=True)
    for start in range(7):
        part = attend(q[:, :, start:], k, v, causal=True, need_lse=True)
        torch.testing.assert_close(part.out, whole.out[:, :, start:], rtol=0, atol=1e-12)
        torch.testing.assert_close(part.lse, whole.lse[:, :, start:], rtol=0, atol=1e-12)
        plain = attend(q[:, :, start:], k, v, causal=True)
        torch.testing.assert_close(plain.out, whole.out[:, :, start:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_without_lse_it_is_the_stock_call_to_the_bit(causal: bool) -> None:
    q, k, v = random_qkv(seed=9, key_heads=4, dtype=torch.float32)
    assert torch.equal(attend(q, k, v, causal=causal).out, F.scaled_dot_product_attention(q, k, v, is_causal=causal))
    mask = random_mask(10, 2, 1, 7, 7)
    assert torch.equal(attend(q, k, v, mask).out, F.scaled_dot_product_attention(q, k, v, mask))


def test_mixed_dtypes_are_computed_in_the_widest() -> None:
    q, k, v = random_qkv(seed=11, dtype=torch.float32)
    k, v = k.bfloat16(), v.bfloat16()
    for need_lse in (False, True):
        mixed = attend(q, k, v, need_lse=need_lse)
        assert torch.equal(mixed.out, attend(q, k.float(), v.float(), need_lse=need_lse).out)
    assert attend(q.bfloat16(), k, v, need_lse=True).lse.dtype == torch.float32


def test_strides_do_not_matter() -> None:
    q, k, v = random_qkv(seed=12, dtype=torch.float32, key_heads=4)
    strided = tuple(x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v))
    wide = tuple(torch.cat([x, x], -1)[..., ::2] for x in (q, k, v))
    for need_lse in (False, True):
        assert torch.allclose(attend(*strided, need_lse=need_lse).out, attend(q, k, v, need_lse=need_lse).out, atol=1e-6)
        again = tuple(x.contiguous() for x in wide)
        assert torch.allclose(attend(*wide, need_lse=need_lse).out, attend(*again, need_lse=need_lse).out, atol=1e-6)


def test_no_keys_at_all_is_an_empty_part() -> None:
    q, k, v = random_qkv(seed=13, keys=0)
    out, lse = attend(q, k, v, need_lse=True)
    assert (out == 0).all()
    assert (lse == -torch.inf).all()


def test_under_autocast_both_paths_compute_in_the_lower_precision() -> None:
    q, k, v = random_qkv(seed=14, dtype=torch.float32)
    wanted = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), need_lse=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(q, k.bfloat16(), v, need_lse=True)
        plain = attend(q, k.bfloat16(), v)
    assert torch.equal(found.lse, wanted.lse)
    assert torch.equal(found.out.bfloat16(), wanted.out)
    assert torch.allclose(plain.out.float(), wanted.out.float(), atol=2e-2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.booleans())
def test_merging_a_split_of_the_keys_is_attention_over_all(seed: int, pieces: int, causal: bool) -> None:
    q, k, v = random_qkv(seed=seed, keys=11, grad=True)
    group = torch.randint(pieces, (2, 1, 1, 11), generator=torch.Generator().manual_seed(seed))
    visible = torch.ones(7, 11, dtype=torch.bool).tril(4) if causal else torch.ones(7, 11, dtype=torch.bool)
    whole = attend(q, k, v, visible, need_lse=True, backend=Reference())
    parts = [attend(q, k, v, visible & (group == g), need_lse=True) for g in range(pieces)]
    merged = merge(parts)
    order = torch.randperm(pieces, generator=torch.Generator().manual_seed(seed)).tolist()
    nested = parts[order[0]]
    for g in order[1:]:
        nested = merge([nested, parts[g]])
    for found in (merged, nested):
        close([found.out, found.lse], [whole.out, whole.lse], torch.float64)
    torch.testing.assert_close(masses(parts).sum(0), torch.ones(2, 4, 7, dtype=torch.float64))
    gradients = [torch.autograd.grad(part.out.sin().sum() + part.lse.cos().sum(), (q, k, v)) for part in (merged, whole)]
    close(list(gradients[0]), list(gradients[1]), torch.float64)


def test_gradient_through_the_masses_is_that_of_the_dense_softmax() -> None:
    group = torch.arange(9) % 3
    found = []
    for backend in (SDPA(), Reference()):
        q, k, v = random_qkv(seed=15, keys=9, grad=True)
        if isinstance(backend, SDPA):
            parts = [attend(q, k, v, (group == g).expand(7, 9), need_lse=True, backend=backend) for g in range(3)]
            mass = masses(parts)
        else:
            weights = (q @ k.repeat_interleave(2, 1).transpose(-1, -2) * 8**-0.5).softmax(-1)
            mass = torch.stack([weights[..., group == g].sum(-1) for g in range(3)])
        loss = (mass[0] * mass[1].exp() - mass[2].square()).sum()
        found.append([mass, *torch.autograd.grad(loss, (q, k))])
    close(*found, torch.float64)


def test_log_weights_are_a_bias_on_the_keys_of_a_group() -> None:
    q, k, v = random_qkv(seed=16, keys=9)
    first = torch.arange(9) < 4
    parts = [attend(q, k, v, rows.expand(7, 9), need_lse=True) for rows in (first, ~first)]
    weight = torch.tensor([0.7, -0.2], dtype=torch.float64)
    scores = q @ k.repeat_interleave(2, 1).transpose(-1, -2) * 8**-0.5 + torch.where(first, *weight)
    found = merge(parts, weight.view(2, 1, 1, 1))
    close([found.out, found.lse], [scores.softmax(-1) @ v.repeat_interleave(2, 1), scores.logsumexp(-1)], torch.float64)


def test_merging_empty_parts_gives_an_empty_part_without_nan() -> None:
    out = torch.zeros(1, 1, 2, 3, requires_grad=True)
    lse = torch.full((1, 1, 2), -torch.inf, requires_grad=True)
    merged = merge([AttentionPart(out, lse), AttentionPart(out, lse)])
    assert (merged.out == 0).all()
    assert (merged.lse == -torch.inf).all()
    for grad in torch.autograd.grad(merged.out.sum() + finite(merged.lse).sum(), (out, lse)):
        assert grad.isfinite().all()


def test_what_does_not_fit_is_named() -> None:
    q, k, v = random_qkv(dtype=torch.float32)
    with pytest.raises(ValueError, match="would add to the scores"):
        attend(q, k, v, torch.zeros(7, 7))
    with pytest.raises(ValueError, match="3 key heads cannot be shared evenly by 4"):
        attend(q, *(x[:, :1].expand(-1, 3, -1, -1) for x in (k, v)))
    with pytest.raises(ValueError, match="must agree"):
        attend(q, k[:, :, :-1], v)
    with pytest.raises(ValueError, match="SDPA refuses this attention: attention dropout"):
        attend(q, k, v, need_lse=True, backend=SDPA(), dropout=0.1)
    with pytest.raises(ValueError, match="compute them with need_lse=True"):
        merge([attend(q, k, v)])
    with pytest.raises(ValueError, match="at least one"):
        merge([])
