"""Masks: isolation holds whatever the rule, no real row is blind, and a decoded row is a row of the whole."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mm.masks import (
    BlindTokenError,
    Causal,
    Composite,
    ContextBidirectional,
    CrocMixed,
    Document,
    ImageBlock,
    Mask,
    ModalityMutual,
    PositionCausal,
    Power,
    Prefix,
    PrefixTree,
    SinkWindow,
)
from mm.positions import Concentric, Positions, Restart, ReverseRaster, SinglePosition
from mm.tokens import Role, TokenMap
from tests.levers import ANY_MASK as MASKS
from tests.levers import MASKS as DECODERS
from tests.levers import POSITIONS, Everything
from tests.toys import batch, random_tokens, row


def picture(mask: Mask, text: str, positions: Positions | None = None, cols: int | None = None) -> list[str]:
    """Rows of the mask as strings, x where a token sees another."""
    tokens = row(text, cols)
    if positions is not None:
        tokens = tokens.at(positions.assign(tokens))
    return ["".join("x" if seen else "-" for seen in line) for line in mask.dense(tokens)[0, 0].tolist()]


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


def test_position_causal_shows_an_image_its_outer_rings_and_its_own() -> None:
    assert picture(PositionCausal(), "q iiiiiiiii q", Concentric(), cols=3) == [
        "x----------", *["xxxxx-xxxx-"] * 4, "xxxxxxxxxx-", *["xxxxx-xxxx-"] * 4, "xxxxxxxxxxx"]


def test_position_causal_is_what_the_positions_make_of_it() -> None:
    for seed in range(8):
        tokens = random_tokens(seed)
        for positions, mask in ((Restart(), Causal()), (SinglePosition(), ImageBlock())):
            assert torch.equal(PositionCausal().dense(tokens.at(positions.assign(tokens))), mask.dense(tokens))
    assert picture(PositionCausal(), "qiiiq", ReverseRaster()) == ["x----", "xxxx-", "x-xx-", "x--x-", "xxxxx"]


def test_modality_mutual_shows_an_image_its_own_question() -> None:
    assert picture(ModalityMutual(), "qiiqqa") == ["x-----", "xx-xx-", "xxxxx-", "xxxx--", "xxxxx-", "xxxxxx"]
    assert picture(ModalityMutual(), "siqaqa")[1] == "xxx---"  # through the second question, the first answer would see it
    assert picture(ModalityMutual("all_turns"), "siqaqa")[1] == "xxx-x-"
    assert picture(ModalityMutual(), "qaiqaqa")[2] == "xxxx---"
    assert picture(ModalityMutual(), "iaa")[0] == "x--"  # a caption nobody asked for


def test_modality_mutual_keeps_images_causal_among_themselves_and_each_to_its_turn() -> None:
    assert picture(ModalityMutual(), "iqjqa") == ["xx-x-", "xx---", "xxxx-", "xxxx-", "xxxxx"]
    assert picture(ModalityMutual(), "iqajqa") == ["xx----", "xx----", "xxx---", "xxxxx-", "xxxxx-", "xxxxxx"]


def test_composite_images_see_nothing_and_are_seen() -> None:
    assert picture(Composite(), "qiijq") == ["x----", "-x---", "--x--", "---x-", "xxxxx"]


@pytest.mark.parametrize("mask", [ContextBidirectional(), CrocMixed()], ids=repr)
def test_the_context_ends_where_the_first_answer_begins(mask: Mask) -> None:
    assert picture(mask, "siqaqa") == ["xxx---", "xxx---", "xxx---", "xxxx--", "xxxxx-", "xxxxxx"]
    assert picture(mask, "iq/qa") == ["xx--", "xx--", "--x-", "--xx"]
    assert picture(mask, "i 1 qqa 2 qq") == ["x-----", "xxx---", "xxx---", "xxxx--", "x---xx", "x---xx"]
    assert picture(mask, "iqa 1 qq") == ["xx---", "xx---", "xxx--", "xxxx-", "xxxxx"]


def test_a_window_counts_the_token_itself_and_sinks_count_from_the_document() -> None:
    assert picture(SinkWindow(1, 2), "qqqqq") == ["x----", "xx---", "xxx--", "x-xx-", "x--xx"]
    assert picture(SinkWindow(0, 1), "qqq") == ["x--", "-x-", "--x"]
    assert picture(SinkWindow(1, 2), "qqq/qqqq")[-1] == "---x-xx"
    assert picture(SinkWindow(1, 1), "qq 1 qqq 2 qq")[-1] == "x-----x"


def test_powers_of_two_are_counted_in_blocks() -> None:
    assert picture(Power(1, 0, 1), "q" * 10)[-1] == "-x---x-xxx"
    assert picture(Power(2, 0, 2), "q" * 10)[-1] == "xx--xxxxxx"
    assert picture(Power(2, 1, 2), "qqq/" + "q" * 13)[-1] == "---" + "x---xx--xxxxx"


@pytest.mark.parametrize(("window", "block"), [(1, 1), (2, 2), (5, 3)])
def test_each_layer_of_powers_doubles_how_far_a_token_reaches(window: int, block: int) -> None:
    tokens = row("q" * 64)
    seen = Power(window, 0, block).dense(tokens)[0, 0].float()
    distance = (tokens.depth.T // block - tokens.depth // block)
    reached = torch.eye(64)
    for layers in range(1, 8):
        reached = ((seen @ reached) > 0).float()
        assert reached[(distance >= 0) & (distance < 2**layers) & (tokens.depth <= tokens.depth.T)].all()
    assert torch.equal(reached.bool(), Causal().dense(tokens)[0, 0])


@pytest.mark.parametrize(("kind", "settings", "said"), [
    (SinkWindow, {"window": 0}, "window at least 1, as the token itself counts; got sink=64, window=0"),
    (SinkWindow, {"sink": -1}, "sink is at least 0"),
    (Power, {"window": 8, "block": 16}, "window at least a block"), (Power, {"sink": -1}, "sink at least 0"),
    (ModalityMutual, {"scope": "every"}, "scope is one of first_turn, all_turns; got 'every'")])
def test_arguments_that_cannot_be_meant_are_errors(kind: type[Mask], settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__}: .*{said}"):
        kind(**settings)


def test_a_mask_says_how_it_was_made() -> None:
    assert repr(SinkWindow(1, 2) | (ModalityMutual() & Power(2, 1, 2))) == (
        "(SinkWindow(sink=1, window=2) | (ModalityMutual(scope='first_turn') & Power(window=2, sink=1, block=2)))")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
@pytest.mark.parametrize("positions", POSITIONS, ids=repr)
@pytest.mark.parametrize("mask", DECODERS, ids=repr)
def test_no_chain_of_layers_lets_an_answer_reach_what_stands_before_it(mask: Mask, positions: Positions, seed: int) -> None:
    tokens = random_tokens(seed)
    tokens = tokens.at(positions.assign(tokens))
    reached = mask.dense(tokens)[:, 0].float()
    for _ in range(tokens.shape[1].bit_length()):
        reached = ((reached @ reached) > 0).float()
    earlier = tokens.index[:, :, None] < tokens.index[:, None, :]
    assert not (reached.bool() & earlier & (tokens.role == Role.ANSWER)[:, None]).any()


def test_reading_the_questions_of_all_turns_would_leak_in_training() -> None:
    """Through image and second question, the token that predicts the first answer has read it after three layers."""
    for mask, leaks in ((ModalityMutual(), False), (ModalityMutual("all_turns"), True)):
        seen = mask.dense(row("iqaqa"))[0, 0].float()
        assert bool((seen @ seen @ seen)[1, 2] > 0) == leaks


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
