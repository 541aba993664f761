"""One rule, many forms: tokens, blocks, single indices and documents say the same about who sees whom."""
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, create_mask

from mm.attention import Visibility
from mm.attention.bounds import Bounds, by_blocks
from mm.masks import Causal, Document, ImageBlock, Mask, Prefix
from mm.tokens import TokenMap
from tests.allocation import Largest
from tests.levers import ANY_MASK, Everything
from tests.rows import end_to_end, long_rows, over, wild_rows
from tests.toys import batch, random_tokens, row


class Near(Mask):
    """All that block bounds can compute, in one rule."""

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        distance = (q.index - k.index).abs()
        corner = (1 - k.row.clamp(min=0, max=1)) + q.col
        together = (q.index - 9) // 4 == (k.index - 9) // 4
        return ((distance < 5) | together | (corner > k.turn + 1) | (q.is_vision == k.is_vision)) & ~((q.kind != k.kind) & (-k.col >= q.row))


class Even(Mask):
    """A rule that block bounds know nothing of."""

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return (k.index % 2 == 0) | (k.index == q.index)


MASKS: list[Mask] = [*ANY_MASK, Near(), Even(), Everything()]


def counted(seen: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which blocks of a dense mask [B, 1, Q, K] hold some True, and which nothing else."""
    blocks = [[block.flatten(1) for block in line.split(size, 2)] for line in seen[:, 0].split(size, 1)]
    some, every = (torch.stack([torch.stack([of(block, 1) for block in line], 1) for line in blocks], 1) for of in (torch.any, torch.all))
    return some, every


@dataclass(frozen=True)
class Call:
    """What a call may add to a rule."""

    queries: slice
    keys: slice
    window: int | None
    written: int | None
    kept: bool

    def over(self, mask: Mask, tokens: TokenMap, seed: int) -> Visibility:
        generator = torch.Generator().manual_seed(seed)
        kept = torch.rand(tokens.shape[0], self.keys.stop - self.keys.start, generator=generator) > 0.3 if self.kept else None
        return Visibility(mask, tokens, self.queries, self.keys, self.window, self.written, kept)


def calls(length: int) -> st.SearchStrategy[Call]:
    part = st.tuples(st.integers(0, length - 1), st.integers(0, length - 1)).map(lambda ends: slice(min(ends), max(ends) + 1))
    return st.builds(Call, part, part, st.sampled_from([None, None, 1, 4, 9]), st.one_of(st.none(), st.integers(0, length)), st.booleans())


def test_a_rule_over_tokens_is_the_masks_own_tensor() -> None:
    for seed in range(6):
        tokens = random_tokens(seed)
        for mask in MASKS:
            for window in (None, 1, 3):
                assert torch.equal(over(mask, tokens, window=window).dense(), mask.dense(tokens, window=window))
                part = over(mask, tokens, slice(4, 9), slice(2, 12), window=window)
                assert torch.equal(part.dense(), mask.dense(tokens, slice(4, 9), slice(2, 12), window))
                assert torch.equal(part.dense(slice(1, 3)), part.dense()[:, :, 1:3])
                assert part.shape == part.dense().shape


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 3, 8]), calls(37))
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_what_is_said_of_blocks_holds_for_every_pair_in_them(mask: Mask, seed: int, size: int, call: Call) -> None:
    visibility = call.over(mask, wild_rows(seed), seed)
    may, must = visibility.blocks(size)
    some, every = counted(visibility.dense(), size)
    assert not (some & ~may).any()
    assert not (must & ~every).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), calls(37))
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_blocks_of_one_token_leave_nothing_open(mask: Mask, seed: int, call: Call) -> None:
    visibility = call.over(mask, wild_rows(seed), seed)
    may, must = visibility.blocks(1)
    assert torch.equal(may, must)
    assert torch.equal(may, visibility.dense()[:, 0])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), calls(37))
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_single_indices_are_asked_the_same(mask: Mask, seed: int, call: Call) -> None:
    visibility = call.over(mask, wild_rows(seed), seed)
    batch, _, rows, columns = visibility.shape
    assert torch.equal(create_mask(visibility.mask_mod(), batch, None, rows, columns, device="cpu"), visibility.dense())


@pytest.mark.parametrize("branches", [False, True])
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_the_block_mask_is_laid_out_as_the_stock_one(mask: Mask, branches: bool) -> None:
    """Of ours, full blocks are full there; blocks left open may turn out empty or full; nothing else differs."""
    tokens = long_rows(5, documents=4, branches=branches)
    visibility = over(mask, tokens, window=None if branches else 90)
    rows, columns = visibility.shape[2:]
    ours = visibility.block_mask(32)
    stock = create_block_mask(visibility.mask_mod(), tokens.shape[0], None, rows, columns, device="cpu", BLOCK_SIZE=32)
    assert ours.shape == (tokens.shape[0], 1, rows, columns)
    assert ours.kv_num_blocks.shape == stock.kv_num_blocks.shape
    assert ours.kv_indices.dtype == stock.kv_indices.dtype
    assert ours.seq_lengths == stock.seq_lengths
    full, open_ = as_map(ours.full_kv_num_blocks, ours.full_kv_indices), as_map(ours.kv_num_blocks, ours.kv_indices)
    stock_full, stock_open = as_map(stock.full_kv_num_blocks, stock.full_kv_indices), as_map(stock.kv_num_blocks, stock.kv_indices)
    assert not (full & open_).any()
    assert not (full & ~stock_full).any()
    assert not ((stock_full | stock_open) & ~(full | open_)).any()
    assert full.any() == stock_full.any()


def as_map(number: Tensor, index: Tensor) -> Tensor:
    """Listed blocks as bool [B, 1, q, k]."""
    listed = torch.arange(index.shape[-1]) < number[..., None]
    return torch.zeros(index.shape, dtype=torch.bool).scatter(-1, index.long(), listed)


def test_the_stock_layout_is_met_exactly_by_packed_causal_rows() -> None:
    tokens = TokenMap.text(torch.ones(1, 1000))
    tokens = TokenMap(**tokens.__dict__ | {"document": torch.arange(1000)[None] // 250})
    visibility = over(Causal(), tokens)
    ours, stock = visibility.block_mask(64), create_block_mask(visibility.mask_mod(), 1, None, 1000, 1000, device="cpu", BLOCK_SIZE=64)
    assert torch.equal(ours.kv_num_blocks, stock.kv_num_blocks)
    assert torch.equal(ours.full_kv_num_blocks, stock.full_kv_num_blocks)
    assert torch.equal(ours.to_dense(), stock.to_dense())


@pytest.mark.parametrize("mask", [Causal(), Prefix() | ImageBlock(), Near(), Even()], ids=repr)
def test_mapping_blocks_makes_no_dense_mask(mask: Mask) -> None:
    """A rule that bounds know nothing of is counted a row of blocks at a time."""
    tokens = end_to_end(long_rows(3, rows=1), 16)
    length = tokens.shape[1]
    assert length > 4000
    with Largest() as largest:
        over(mask, tokens, window=700).block_mask()
    assert 8 * length <= largest.bytes <= (16 * 128 if isinstance(mask, Even) else 16) * length
    with Largest() as largest:
        over(mask, tokens).dense()
    assert largest.bytes >= length**2


def test_a_bound_refuses_what_it_cannot_bound() -> None:
    """A tensor over tokens would broadcast against blocks and mean nothing."""
    blocks: Bounds = by_blocks(4)(torch.arange(8)[None])
    for wrong in (lambda: blocks == torch.arange(2), lambda: blocks < 0.5, lambda: blocks + torch.ones(2), lambda: bool(blocks == 1),
                  lambda: blocks // -2,
                  lambda: (blocks == 1) & torch.ones(2).bool(), lambda: bool(blocks), lambda: torch.ones(2).bool() & (blocks == 1)):
        with pytest.raises(TypeError):
            wrong()


def test_a_rule_with_tensors_of_its_own_is_counted_token_by_token() -> None:
    tokens = long_rows(7, rows=1)
    chosen = torch.rand(1, 1, tokens.shape[1], generator=torch.Generator().manual_seed(0)) > 0.5

    class Chosen(Mask):
        def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
            return (k.index <= q.index) & (chosen | (k.index == q.index)) if isinstance(k.index, Tensor) else (k.index <= q.index) & chosen

    visibility = over(Chosen(), tokens)
    may, must = visibility.blocks(64)
    some, every = counted(visibility.dense(), 64)
    assert torch.equal(may, some)
    assert torch.equal(must, every)


def test_a_bool_table_has_bounds_too() -> None:
    known = by_blocks(2)(torch.tensor([[True, True, True, False, False, False, True]]))
    assert known.may.tolist() == [[True, True, False, True]]
    assert known.must.tolist() == [[True, False, False, True]]


def test_only_some_keys() -> None:
    tokens = random_tokens(1)
    kept = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) > 0.5
    again = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(2)) > 0.5
    visibility = over(ImageBlock(), tokens)
    assert torch.equal(visibility.only(kept).dense(), visibility.dense() & kept[:, None, None])
    assert torch.equal(visibility.only(kept).only(again).dense(), visibility.dense() & (kept & again)[:, None, None])
    with pytest.raises(ValueError, match="whether it is kept"):
        visibility.only(kept[:, 1:])


def test_keys_that_are_not_written_yet_are_invisible() -> None:
    tokens = random_tokens(2)
    seen = over(Document(), tokens, slice(3, 6), written=6).dense()
    assert not seen[..., 6:].any()
    assert torch.equal(seen[..., :6], Document().dense(tokens, slice(3, 6), slice(0, 6)))


def test_repeated_rows_are_the_rows_repeated() -> None:
    tokens = random_tokens(3)
    kept = tokens.index % 3 != 0
    visibility = over(Prefix(), tokens, window=4).only(kept)
    assert torch.equal(visibility.repeat_rows(3).dense(), visibility.dense().repeat_interleave(3, 0))


def test_additive_is_finite_and_forbids_what_is_hidden() -> None:
    visibility = over(Prefix(), random_tokens(4))
    for dtype in (torch.float32, torch.bfloat16):
        bias = visibility.additive(dtype)
        assert bias.dtype == dtype
        assert bias.isfinite().all()
        assert torch.equal(bias == 0, visibility.dense())
        assert (bias[~visibility.dense()] == torch.finfo(dtype).min).all()


def test_plain_is_what_the_causal_flag_computes() -> None:
    assert over(Causal(), batch("iiqa", "iqaa")).is_plain
    assert over(Causal(), row("ii 1 qa")).is_plain
    assert over(Causal(), row("iiqa"), slice(2, 4)).is_plain
    assert over(Causal(), row("iiqa"), window=4).is_plain
    assert not over(Causal(), row("iiqa"), window=3).is_plain
    assert not over(Causal(), row("iiqa"), slice(0, 2)).is_plain
    assert not over(Causal(), row("iiqa"), slice(0, 2), written=2).is_plain
    assert not over(Causal(), batch("iiqa", "iq")).is_plain
    assert not over(Causal(), row("iq/qa")).is_plain
    assert not over(Causal(), row("i 1 q 2 qa")).is_plain
    assert not over(ImageBlock(), row("iiqa")).is_plain
    assert not over(Causal(), row("iiqa")).only(torch.ones(1, 4, dtype=torch.bool)).is_plain
    for text in ("iiqa", "ii 1 qa"):
        assert torch.equal(over(Causal(), row(text)).dense()[0, 0], torch.ones(4, 4).tril().bool())


def test_a_decoding_step_that_sees_all_needs_no_mask() -> None:
    assert over(Causal(), row("iiqa"), slice(3, 4)).sees_all()
    assert not over(Causal(), batch("iiqa", "iqa", left=True), slice(3, 4)).sees_all()
    assert not over(Causal(), row("iiqa"), slice(2, 3)).sees_all()
    assert over(Document(), row("i" * 300)).sees_all()
    assert not over(Document(), row("i" * 200 + "/" + "i" * 100)).sees_all()


def test_documents_are_told_apart_by_where_they_begin() -> None:
    tokens = batch("iq/iqa/qa", "qaa/q")
    visibility = over(Causal(), tokens)
    starts = visibility.varlen()
    assert starts is not None
    assert starts.dtype == torch.int32
    assert starts.tolist() == [0, 2, 5, 7, 10, 11, 12, 13, 14]
    assert visibility.longest == 3
    token = torch.arange(14)
    document = torch.bucketize(token, starts, right=True)
    seen = (document[:, None] == document) & (token <= token[:, None])
    assert torch.equal(torch.block_diag(*visibility.dense()[:, 0].int()).bool(), seen)


def test_rows_that_are_more_than_causal_documents_are_not_told_apart() -> None:
    tokens = batch("iq/iqa", "qaa/q")
    assert over(ImageBlock(), tokens).varlen() is None
    assert over(Causal(), tokens, slice(1, 5)).varlen() is None
    assert over(Causal(), tokens, written=3).varlen() is None
    assert over(Causal(), tokens).only(tokens.is_real).varlen() is None
    assert over(Causal(), row("i 1 q 2 q")).varlen() is None
    torn = row("iq/qa/qa")
    assert over(Causal(), TokenMap(**torn.__dict__ | {"document": torch.tensor([[0, 0, 1, 1, 0, 0]])})).varlen() is None
    with pytest.raises(ValueError, match="longest"):
        _ = over(ImageBlock(), tokens).longest


def test_a_call_beyond_the_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match=r"keys slice\(0, 9, None\) is not a part of 4 tokens"):
        over(Causal(), row("iiqa"), keys=slice(0, 9))
