"""Mass that a source's token has is given on whole, to the word in its place."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mm.diffusion import legacy
from mm.diffusion.align import needleman_wunsch, refine_alignment, replace_mapping
from mm.diffusion.prompt import Prompt, Span
from mm.diffusion.tokenise import tokenized_by
from tests.prompts import clip

SHORT, LONG = "a photo of a cat on a mat", "a photo of a chinchilla on a mat"


def read(*texts: str, length: int = 77) -> list[Prompt]:
    return tokenized_by(clip(length), texts)


def sources(mapping: Tensor, column: int) -> dict[int, float]:
    return {row: round(float(mapping[row, column]), 4) for row in mapping[:, column].nonzero()[:, 0].tolist()}


def test_t1_words_behind_a_longer_word_stay_aligned() -> None:
    source, target = read(SHORT, LONG)
    mapping = replace_mapping(source, target)
    assert [target.spans[0].pieces[key] for key in (5, 6, 7, 8, 11)] == ["chin", "ch", "illa", "on", "<|endoftext|>"]
    assert [sources(mapping, key) for key in (5, 6, 7)] == [{5: 0.3333}] * 3
    assert [sources(mapping, key) for key in (8, 11, 12, 75)] == [{6: 1.0}, {9: 1.0}, {10: 1.0}, {73: 1.0}]
    assert sources(mapping, 76) == {74: 1.0, 75: 1.0, 76: 1.0}  # surplus pads
    torch.testing.assert_close(mapping.sum(1), torch.ones(77))
    released = legacy.replace_mapping(source, target)
    assert sources(released, 8) == {8: 1.0}
    assert source.spans[0].pieces[8] == "mat"
    assert released.sum(1)[6:8].tolist() == [0.0, 0.0]


def test_t1_pads_that_no_source_is_left_for_keep_their_own() -> None:
    mapping = replace_mapping(*read(LONG, SHORT))
    assert [sources(mapping, key) for key in (5, 6, 74, 75, 76)] == [{5: 1.0, 6: 1.0, 7: 1.0}, {8: 1.0}, {76: 1.0}, {}, {}]
    torch.testing.assert_close(mapping.sum(1), torch.ones(77))
    assert legacy.replace_mapping(*read(LONG, SHORT)).sum(1)[6:8].tolist() == [2.0, 2.0]


def test_identical_prompts_are_mapped_onto_themselves() -> None:
    assert torch.equal(replace_mapping(*read(LONG, LONG)), torch.eye(77))
    assert torch.equal(replace_mapping(*read("", " ")), torch.eye(77))


def test_punctuation_and_blanks_are_no_words() -> None:
    mapping = replace_mapping(*read("a cat,  a dog", "a chinchilla, a dog"))
    assert [sources(mapping, key) for key in (2, 5, 6, 7)] == [{2: 0.25, 3: 0.25}] * 2 + [{4: 1.0}, {5: 1.0}]


word = st.text("abc", min_size=1, max_size=4)


@st.composite
def prompts(draw: st.DrawFn) -> tuple[Prompt, Prompt]:
    """Two prompts of as many words, each word of one to four tokens, read by one or two encoders of odd lengths."""
    count = draw(st.integers(0, 4))
    texts = [draw(st.lists(word, min_size=count, max_size=count)) for _ in range(2)]
    longest = max(sum(map(len, words)) for words in texts)
    lengths = [longest + draw(st.integers(2, 6)) for _ in range(draw(st.integers(1, 2)))]
    made = []
    for words in texts:
        letters = "".join(words)
        spans, start = [], 0
        for place, length in enumerate(lengths):
            before = 1 - place  # as CLIP and T5
            pieces = ["<s>"] * before + list(letters) + ["</s>"]
            spans.append(Span(start, length, tuple(map(ord, "^" * before + letters + "$")), tuple(pieces), before, 1))
            start += length
        made.append(Prompt(" ".join(words), tuple(spans)))
    return made[0], made[1]


@settings(max_examples=60, deadline=None)
@given(prompts())
def test_rows_sum_to_one_and_encoders_do_not_mix(two: tuple[Prompt, Prompt]) -> None:
    mapping = replace_mapping(*two)
    torch.testing.assert_close(mapping.sum(1), torch.ones(two[0].keys))
    assert (mapping >= 0).all()
    for span in two[0].spans:
        inside = mapping[span.start:span.start + span.length]
        torch.testing.assert_close(inside[:, span.start:span.start + span.length].sum(1), torch.ones(span.length))
    for one, other in zip(two[0].spans, two[1].spans, strict=True):
        assert mapping[one.start + len(one.ids) - 1, other.start + len(other.ids) - 1] == 1  # end to end


@settings(max_examples=60, deadline=None)
@given(prompts())
def test_refinement_pairs_equal_tokens_in_order(two: tuple[Prompt, Prompt]) -> None:
    aligned = refine_alignment(*two)
    for one, other in zip(two[0].spans, two[1].spans, strict=True):
        keys = [key - one.start for key in aligned[other.start:other.start + other.length].tolist() if key >= 0]
        assert keys == sorted(set(keys))
        for place, key in enumerate(aligned[other.start:other.start + other.length].tolist()):
            if key >= 0 and place < len(other.ids):
                assert one.ids[key - one.start] == other.ids[place]
            elif key >= 0:
                assert key - one.start == place >= len(one.ids)


@settings(max_examples=60, deadline=None)
@given(st.text("ab", max_size=7), st.text("ab", max_size=7))
def test_as_many_tokens_as_possible_are_paired(one: str, other: str) -> None:
    def common(left: str, right: str) -> int:
        """Longest common subsequence: with free gaps that is the best score."""
        if not left or not right:
            return 0
        return 1 + common(left[1:], right[1:]) if left[0] == right[0] else max(common(left[1:], right), common(left, right[1:]))

    places = needleman_wunsch(tuple(map(ord, one)), tuple(map(ord, other)))
    assert sum(place >= 0 for place in places) == common(one, other)


def test_pads_of_the_target_do_not_take_a_longer_source_s_words() -> None:
    long, short = read("a photo of a red house on a hill", "a photo")
    aligned, released = refine_alignment(long, short), legacy.refine_alignment_of_pads(long, short)
    assert aligned[4:].tolist() == [-1] * 7 + list(range(11, 77))
    assert released[4:].tolist() == list(range(4, 77))


def test_prompts_that_cannot_be_aligned_are_refused() -> None:
    with pytest.raises(ValueError, match="as many words in both prompts; 'a cat' has 2 and 'a cat sitting' has 3: use Refine"):
        replace_mapping(*read("a cat", "a cat sitting"))
    for align in (replace_mapping, refine_alignment, legacy.replace_mapping):
        with pytest.raises(ValueError, match="encode them with the same lengths"):
            align(read("a cat")[0], read("a dog", length=64)[0])
