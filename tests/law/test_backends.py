"""Attention under a rule: every backend that does not refuse is the dense reference, and none needs Q x N memory."""
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from mm.attention import SDPA, Backend, Flex, Products, Reference, Tiled, Varlen, Visibility, attend
from mm.attention.flex import compiler
from mm.attention.kernels import SMALL, checked, simplest
from mm.attention.tiles import ROWS
from mm.masks import Causal, Document, ImageBlock, Mask, Prefix, PrefixTree
from mm.tokens import TokenMap
from tests.allocation import Largest
from tests.attention import DEVICES, TOLERANCE, close, values_and_gradients
from tests.rows import end_to_end, long_rows, over, wild_rows
from tests.toys import random_qkv, row

BACKENDS = (Tiled(), Flex(), Varlen(), SDPA(), Reference())
RULES = {"causal": Causal(), "bidirectional": Document(), "rule": ImageBlock()}
HEADS = {"no grouping": {"key_heads": 4}, "grouped": {"key_heads": 2}}
PADDING = {"padded right": {}, "padded left": {"left": True}, "branches": {"branches": True}}


class UncompiledFlex(Flex):
    """Materialises Q x N, which is no matter in a test: it shows that rule, block map and LSE are what the kernel wants."""

    def cannot_compile(self, device: str) -> str | None:
        return None

    def refuses(self, query: Any, need_lse: bool) -> str | None:
        return super().refuses(query, False)

    def kernel(self) -> Any:
        return flex_attention


def inputs_for(visibility: Visibility, **kind: Any) -> tuple[Tensor, ...]:
    batch, _, queries, keys = visibility.shape
    return tuple(x.to(visibility.device) for x in random_qkv(seed=1, batch=batch, queries=queries, keys=keys, **kind))


def assert_is_the_reference(visibility: Visibility, need_lse: bool, dtype: torch.dtype, **kind: Any) -> set[type[Backend]]:
    """Checks every backend that takes the call, in values and gradients; returns which did."""
    inputs = inputs_for(visibility, dtype=dtype, **kind)
    leaves = tuple(x.clone().requires_grad_() for x in inputs)
    wanted = values_and_gradients(Reference(), tuple(x.double() for x in inputs), visibility.dense(), False, need_lse)
    willing = [backend for backend in BACKENDS if backend.refuses(checked(*leaves, visibility, False, None, 0.0), need_lse) is None]
    for backend in (*willing, None):
        close(values_and_gradients(backend, inputs, visibility, False, need_lse), wanted, dtype)
    return {type(backend) for backend in willing}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("need_lse", [False, True])
@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("call", ["self", "cross"])
def test_backends_are_the_dense_reference(call: str, rule: str, dtype: torch.dtype, heads: str, padding: str, need_lse: bool, device: str) -> None:
    tokens = long_rows(2, documents=3, **{"branches": False} | PADDING[padding]).to(device)
    length = tokens.shape[1]
    assert length > ROWS
    parts = (None, None) if call == "self" else (slice(60, length - 5), slice(17, length))
    willing = assert_is_the_reference(over(RULES[rule], tokens, *parts), need_lse, dtype, width=16, **HEADS[heads])
    assert Reference in willing
    if device == "cpu":
        assert {Tiled, SDPA} <= willing
        assert not {Flex, Varlen} & willing
    elif dtype != torch.float64:
        assert {Tiled, Flex} <= willing


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.booleans(), st.sampled_from([None, 1, 40]))
def test_tiles_are_the_dense_reference_whatever_the_tokens(seed: int, chosen: bool, window: int | None) -> None:
    """Rows that see nothing included."""
    tokens = wild_rows(seed, length=400)
    visibility = over(Prefix() | ImageBlock(), tokens, slice(100, 390), slice(3, 400), window=window, written=395)
    if chosen:
        visibility = visibility.only(torch.rand(2, 397, generator=torch.Generator().manual_seed(seed)) > 0.8)
    inputs = inputs_for(visibility)
    close(values_and_gradients(Tiled(), inputs, visibility, False, True),
          values_and_gradients(Reference(), inputs, visibility.dense(), False, True), torch.float64)


def test_a_row_that_sees_nothing_is_an_empty_part_in_tiles() -> None:
    tokens = row("i" * 600)
    nothing = over(Causal(), tokens).only(tokens.index >= 300)
    q, k, v = (x.requires_grad_() for x in inputs_for(nothing, dtype=torch.float32))
    out, lse = attend(q, k, v, nothing, need_lse=True, backend=Tiled())
    assert (out[:, :, :300] == 0).all()
    assert (lse[:, :, :300] == -torch.inf).all()
    assert lse[:, :, 300:].isfinite().all()
    for grad in torch.autograd.grad(out.sum() + lse.exp().sum(), (q, k, v)):
        assert grad.isfinite().all()


@pytest.mark.parametrize("shape", [{"value_width": 5}, {"value_width": 24}, {"width": 13}, {"key_heads": 1}], ids=str)
def test_widths_and_grouping_may_differ_in_tiles(shape: dict[str, int]) -> None:
    assert Tiled in assert_is_the_reference(over(ImageBlock(), long_rows(4)), True, torch.float64, **shape)


def test_gradcheck_of_tiles() -> None:
    visibility = over(ImageBlock(), row("siijjqa"))
    q, k, v = random_qkv(seed=4, batch=1, heads=2, key_heads=1, width=4, grad=True)
    assert torch.autograd.gradcheck(lambda q, k, v: tuple(attend(q, k, v, visibility, need_lse=True, backend=Tiled())), (q, k, v))


def test_gradient_through_the_lse_of_tiles_alone() -> None:
    visibility, grads = over(ImageBlock(), long_rows(6)), []
    for backend in (Tiled(), Reference()):
        q, k, v = (x.requires_grad_() for x in inputs_for(visibility))
        grads.append(list(torch.autograd.grad(attend(q, k, v, visibility, need_lse=True, backend=backend).lse.sin().sum(), (q, k))))
    close(*grads, torch.float64)


@pytest.mark.parametrize("mask", [ImageBlock(), Prefix(), Document(), PrefixTree() | ImageBlock()], ids=repr)
def test_tiles_never_allocate_queries_times_keys(mask: Mask) -> None:
    """Largest is a tile's bias, and no tile with a bias has more than `ROWS` queries; the stock way with a dense mask does allocate Q x N."""
    visibility = over(mask, end_to_end(long_rows(3, rows=1, documents=4), 5))
    length = visibility.shape[3]
    assert length > 2000
    q, k, v = (x.requires_grad_() for x in inputs_for(visibility, heads=2, dtype=torch.float32))
    with Largest() as largest:
        out, lse = attend(q, k, v, visibility, need_lse=True)
        (out.sum() + lse.sum()).backward()
    assert largest.bytes <= 4 * ROWS * length
    with Largest() as largest:
        attend(q, k, v, visibility, backend=SDPA())
    assert largest.bytes >= length**2


def test_layers_share_what_is_known_of_a_call() -> None:
    asked = []

    class Counting(ImageBlock):
        def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
            asked.append(1)
            return super().allow(q, k)

    visibility = over(Counting(), long_rows(3, rows=1, documents=8))
    q, k, v = inputs_for(visibility, dtype=torch.float32)
    first = attend(q, k, v, visibility).out
    once = len(asked)
    assert once > 0
    assert torch.equal(attend(q, k, v, visibility).out, first)
    assert len(asked) == once


def test_a_rule_that_says_what_the_kernel_does_anyway_is_the_stock_call_to_the_bit() -> None:
    q, k, v = random_qkv(seed=9, key_heads=4, batch=1, queries=900, keys=900, dtype=torch.float32)
    tokens = row("i" * 900)
    for need_lse in (False, True):
        for rule, causal in ((over(Causal(), tokens), True), (over(Document(), tokens), False)):
            found, wanted = attend(q, k, v, rule, need_lse=need_lse), attend(q, k, v, causal=causal, need_lse=need_lse)
            assert torch.equal(found.out, wanted.out)
            assert need_lse is (found.lse is not None)
    assert torch.equal(attend(q, k, v, over(Causal(), tokens)).out, F.scaled_dot_product_attention(q, k, v, is_causal=True))
    step = over(Causal(), tokens, slice(899, 900))
    assert torch.equal(attend(q[:, :, -1:], k, v, step).out, F.scaled_dot_product_attention(q[:, :, -1:], k, v))


def test_small_calls_keep_the_stock_kernel_and_its_bits() -> None:
    tokens = long_rows(1, rows=2, documents=2)
    visibility = over(ImageBlock(), tokens)
    assert visibility.shape[2] ** 2 <= SMALL
    q, k, v = inputs_for(visibility, key_heads=4, dtype=torch.float32)
    assert torch.equal(attend(q, k, v, visibility).out, F.scaled_dot_product_attention(q, k, v, visibility.dense()))
    q, k, v = (x.bfloat16().requires_grad_() for x in (q, k, v))
    assert Products().refuses(simplest(checked(q, k, v, visibility, False, None, 0.0)), False) is None


def test_flex_computes_the_rule_and_the_lse_in_natural_logarithms() -> None:
    for mask, parts in ((ImageBlock(), (None, None)), (Prefix(), (slice(100, 290), slice(3, 300)))):
        visibility = over(mask, long_rows(2, branches=False), *parts)
        for kind in HEADS.values():
            inputs = inputs_for(visibility, dtype=torch.float32, width=16, **kind)
            found = attend(*inputs, visibility, need_lse=True, backend=UncompiledFlex())
            wanted = attend(*inputs, visibility.dense(), need_lse=True, backend=Reference())
            close(list(found), list(wanted), torch.float32)


@pytest.mark.skipif(compiler() is None, reason="Flex refuses a CPU without a C++ compiler; uncompiled it is tested above")
def test_compiled_flex_on_a_cpu_is_the_dense_reference_and_compiles_once_a_rule() -> None:
    mask = ImageBlock()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for seed in (2, 3):
        visibility = over(mask, long_rows(seed, rows=1, documents=3)[:, :300])
        inputs = inputs_for(visibility, dtype=torch.float32, width=16)
        close([attend(*inputs, visibility, backend=Flex()).out], [attend(*inputs, visibility.dense(), backend=Reference()).out], torch.float32)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def by_documents(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, key_starts: Tensor, longest: int, longest_keys: int, *, return_aux: Any,
                 scale: float | None, window_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What PyTorch documents of its kernel, by a loop: documents [T, H, D] by where they begin, causal, so many tokens to the left, LSE [H, T]."""
    assert torch.equal(starts, key_starts)
    assert starts.dtype == torch.int32
    assert longest == longest_keys == int(starts.diff().max())
    assert window_size[1] == 0
    left = len(q) if window_size[0] < 0 else window_size[0]
    out, lse = torch.empty_like(q), q.new_empty(q.shape[1], len(q))
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        back = torch.arange(end - begin)[:, None] - torch.arange(end - begin)
        scores = torch.einsum("qhd,khd->hqk", q[begin:end], k[begin:end]) * (q.shape[-1] ** -0.5 if scale is None else scale)
        scores = scores.masked_fill((back < 0) | (back > left), -torch.inf)
        out[begin:end], lse[:, begin:end] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v[begin:end]), scores.logsumexp(-1)
    return out, lse


@pytest.mark.parametrize("window", [None, 1, 30])
@pytest.mark.parametrize("kind", HEADS)
def test_what_the_variable_length_kernel_is_given_are_the_documents(kind: str, window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", by_documents)
    visibility = over(Causal(), long_rows(2, branches=False), window=window)
    inputs = inputs_for(visibility, dtype=torch.float64, width=16, **HEADS[kind])
    found = Varlen()(checked(*inputs, visibility, False, 0.3, 0.0), True)
    close(list(found), list(attend(*inputs, visibility.dense(), scale=0.3, need_lse=True, backend=Reference())), torch.float64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel runs on CUDA alone; the test above has what it is given")
@pytest.mark.parametrize("window", [None, 30])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_packed_causal_rows_run_on_the_variable_length_kernel(dtype: torch.dtype, window: int | None) -> None:
    visibility = over(Causal(), long_rows(2, branches=False).to("cuda"), window=window)
    inputs = inputs_for(visibility, dtype=dtype, width=16)
    exact = tuple(x.double() for x in inputs)
    found = attend(*inputs, visibility, need_lse=True, backend=Varlen())
    close(list(found), list(attend(*exact, visibility.dense(), need_lse=True, backend=Reference())), torch.bfloat16)
    close(values_and_gradients(Varlen(), inputs, visibility, False, False),
          values_and_gradients(Reference(), exact, visibility.dense(), False, False), torch.bfloat16)


def test_refusals_say_why() -> None:
    visibility = over(ImageBlock(), long_rows(1))
    q, k, v = inputs_for(visibility, dtype=torch.float32)
    for backend, mask, kind, reason in (
            (Tiled(), visibility.dense(), {}, "the mask is a tensor"), (Tiled(), None, {}, "or absent"),
            (Tiled(), visibility, {"dropout": 0.1}, "dropout"),
            (Flex(), visibility.dense(), {}, "the mask is a tensor"), (Flex(), visibility, {"need_lse": True}, "no LSE on a CPU"),
            (Varlen(), visibility, {}, "does not run on cpu")):
        with pytest.raises(ValueError, match=f"{type(backend).__name__} refuses this attention: .*{reason}"):
            attend(q, k, v, mask, backend=backend, **kind)
    with pytest.raises(ValueError, match="Flex refuses this attention: flex attention has no backward on a CPU"):
        attend(q.requires_grad_(), k, v, visibility, backend=Flex())
    with pytest.raises(ValueError, match="leave `causal` out"):
        attend(q, k, v, visibility, causal=True)
    with pytest.raises(ValueError, match="the Visibility is about 2 rows"):
        attend(q[:, :, 1:], k, v, visibility)


def test_dropout_falls_back_to_the_dense_mask() -> None:
    visibility = over(ImageBlock(), long_rows(3, rows=1, documents=8))
    assert visibility.shape[2] ** 2 > SMALL
    q, k, v = inputs_for(visibility, key_heads=4, dtype=torch.float32)
    torch.manual_seed(0)
    found = attend(q, k, v, visibility, dropout=0.5).out
    torch.manual_seed(0)
    assert torch.equal(found, F.scaled_dot_product_attention(q, k, v, visibility.dense(), 0.5))


def test_under_autocast_tiles_compute_in_the_lower_precision() -> None:
    visibility = over(ImageBlock(), long_rows(2))
    q, k, v = inputs_for(visibility, dtype=torch.float32)
    wanted = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), visibility, need_lse=True, backend=Tiled())
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(q, k, v, visibility, need_lse=True, backend=Tiled())
    assert torch.equal(found.lse, wanted.lse)
    assert torch.equal(found.out.bfloat16(), wanted.out)


def test_tiles_survive_gradient_checkpointing_and_strides() -> None:
    visibility = over(ImageBlock(), long_rows(2))
    found = []
    for again in (False, True):
        q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_() if again else x.requires_grad_() for x in inputs_for(visibility))

        def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return attend(q, k, v, visibility, backend=Tiled()).out

        out = torch.utils.checkpoint.checkpoint(run, q, k, v, use_reentrant=False) if again else run(q, k, v)
        found.append([out, *torch.autograd.grad(out.sin().sum(), (q, k, v))])
    close(*found, torch.float64)
