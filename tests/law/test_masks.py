"""Masks: isolation holds whatever the rule, no real row is blind, and a decoded row is a row of the whole."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mm.masks import BlindTokenError, Causal, Document, ImageBlock, Mask, Prefix, PrefixTree
from mm.tokens import Role, TokenMap
from tests.toys import batch, random_tokens, row

MASKS = [Causal(), Prefix(), ImageBlock(), Document(), PrefixTree(), PrefixTree() | ImageBlock(), Causal() | Document(), Prefix() & ImageBlock(),
         Causal() & Document()]


def picture(mask: Mask, text: str) -> list[str]:
    """Rows of the mask as strings, x where a token sees another."""
    return ["".join("x" if seen else "-" for seen in line) for line in mask.dense(row(text))[0, 0].tolist()]


class Everything(Mask):
    """Sees all: what isolation alone leaves of a careless rule."""

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return torch.ones_like(q.index == k.index)


class OthersOnly(Mask):
    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        return k.index < q.index


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
@pytest.mark.parametrize("mask", [*MASKS, Everything(), Everything() | Causal()], ids=repr)
def test_documents_branches_and_padding_never_leak(mask: Mask, seed: int) -> None:
    tokens = random_tokens(seed)
    seen = mask.dense(tokens)[:, 0]
    q, k = tokens.queries(), tokens.keys()
    real = q.is_real & k.is_real
    assert not (seen & real & (q.document != k.document)).any()
    assert not (seen & real & (k.branch != 0) & (k.branch != q.branch)).any()
    assert not (seen & ~k.is_real & (q.index != k.index)).any()
    assert not (seen & ~q.is_real & (q.index != k.index)).any()
    assert seen.diagonal(dim1=1, dim2=2).all()


def test_causal() -> None:
    assert picture(Causal(), "qa/qa.") == ["x----", "xx---", "--x--", "--xx-", "----x"]


def test_image_block_reads_each_image_in_both_directions() -> None:
    assert picture(ImageBlock(), "qiijjq") == ["x-----", "xxx---", "xxx---", "xxxxx-", "xxxxx-", "xxxxxx"]


def test_frames_of_a_clip_are_blocks_of_their_own() -> None:
    tokens = row("iiii")
    frames = torch.tensor([[0, 0, 1, 1]])
    clip = TokenMap(**{**tokens.__dict__, "frame": frames})
    assert ImageBlock().dense(clip)[0, 0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_prefix_reads_the_prompt_in_both_directions_and_no_later_turn() -> None:
    assert picture(Prefix(), "iqaqa") == ["xx---", "xx---", "xxx--", "xxxx-", "xxxxx"]
    assert picture(Prefix(), "iqqaqqa")[4] == "xxxxxx-"
    assert picture(Prefix(), "siqaq") == ["xxx--", "xxx--", "xxx--", "xxxx-", "xxxxx"]


def test_prefix_tree_shows_a_branch_its_trunk_and_itself() -> None:
    assert picture(PrefixTree(), "ii1qa2q") == ["x----", "xx---", "xxx--", "xxxx-", "xx--x"]
    assert picture(PrefixTree() | ImageBlock(), "ii1qa2q") == ["xx---", "xx---", "xxx--", "xxxx-", "xx--x"]


def test_a_rule_on_branches_is_itself_without_branches() -> None:
    """A branch sees exactly what it would see as the only continuation of its trunk."""
    tokens = row("s ii 1 qa 2 qqa")
    for mask in MASKS:
        if mask.shares_image_prefix:
            for branch in (1, 2):
                path = ((tokens.branch == 0) | (tokens.branch == branch))[0]
                alone = mask.dense(row("s ii qa" if branch == 1 else "s ii qqa"))
                assert torch.equal(mask.dense(tokens)[:, :, path][..., path], alone), mask


def test_a_mask_that_blinds_a_token_is_refused_by_name() -> None:
    with pytest.raises(BlindTokenError, match=r"OthersOnly\(\) hides token 0 of row 0 from itself"):
        OthersOnly().dense(row("iiq"))
    assert (OthersOnly() | ImageBlock()).dense(row("iiq")).any(-1).all()


@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_slices_are_slices_of_the_whole(mask: Mask) -> None:
    tokens = random_tokens(3)
    whole = mask.dense(tokens, window=3)
    assert torch.equal(mask.dense(tokens, slice(4, 9), slice(2, 12), window=3), whole[:, :, 4:9, 2:12])


@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_what_a_mask_says_about_itself_is_true(mask: Mask) -> None:
    for seed in range(8):
        tokens = random_tokens(seed)
        seen, causal, full = (m.dense(tokens) for m in (mask, Causal(), Everything()))
        later = tokens.index[:, None, None, :] > tokens.index[:, None, :, None]
        question = (tokens.role == Role.QUESTION) & ~tokens.is_vision
        asks = tokens.is_vision[:, None, :, None] & question[:, None, None, :] & later
        assert not (mask.chunkable and (seen & later).any())
        assert not (mask.shares_image_prefix and (seen & asks).any())
        assert not (mask.is_causal and not torch.equal(seen, causal))
        assert not (mask.is_full and not torch.equal(seen, full))


def test_composition_knows_when_it_is_plain() -> None:
    assert (Causal() & Document()).is_causal
    assert (Causal() | PrefixTree()).is_causal
    assert not (Causal() | ImageBlock()).is_causal
    assert not (Causal() & ImageBlock()).is_full


def test_a_window_counts_along_the_path_and_not_along_the_row() -> None:
    tokens = row("ssss 1 qqqqq 2 q")
    assert Causal().dense(tokens, window=3)[0, 0, -1].int().tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 1]


def test_left_and_right_padding_show_real_tokens_the_same() -> None:
    texts = ("siiqa", "iqa")
    for mask in MASKS:
        left, right = mask.dense(batch(*texts, left=True)), mask.dense(batch(*texts))
        assert torch.equal(left[1, :, 2:, 2:], right[1, :, :3, :3])


def test_a_chain_is_what_a_plain_model_takes_a_row_for() -> None:
    assert batch("iiqa", "iq").is_chain
    assert row("ii 1 qa").is_chain
    assert not batch("iiqa", "iq", left=True).is_chain
    assert not row("iq/iq").is_chain
    assert not row("ii 1 q 2 q").is_chain
    assert not row("ii 1 qa 0 q").is_chain
