"""Positions: documents and branches count as if they stood alone, and an image is placed by its shape."""
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.positions import Concentric, Positions, Restart, ReverseRaster, Sequential, SinglePosition
from mm.tokens import Kind, TokenMap
from tests.levers import POSITIONS
from tests.toys import batch, paths, random_tokens, row


def ids(positions: Positions, text: str, cols: int | None = None) -> list[int]:
    return positions.assign(row(text, cols))[0].tolist()


def rings(rows: int, cols: int) -> list[list[int]]:
    return Concentric().assign(row("i" * rows * cols, cols)).view(rows, cols).tolist()


def scanned(positions: Positions, kinds: list[tuple[Any, ...]]) -> list[int]:
    """One path read from left to right with a counter, as the papers tell it. kinds: (kind, image) of each token."""
    found: list[int] = []
    counter = 0
    while len(found) < len(kinds):
        kind, image = kinds[len(found)]
        if kind != Kind.VISION:
            found.append(counter)
            counter += 1
            continue
        size = next((n for n, other in enumerate(kinds[len(found):]) if other != (kind, image)), len(kinds) - len(found))
        height, width = (size // 2, 2) if size % 2 == 0 else (1, size)
        ring = [min(i, j, height - 1 - i, width - 1 - j) for i in range(height) for j in range(width)]
        spread = {Restart: (range(size), size), Concentric: (ring, -(-min(height, width) // 2)), ReverseRaster: (range(size - 1, -1, -1), size),
                  SinglePosition: ([0] * size, 1)}[type(positions)]
        found += [counter + offset for offset in spread[0]]
        counter += spread[1]
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
@pytest.mark.parametrize("positions", POSITIONS, ids=repr)
def test_every_path_has_the_ids_that_it_has_alone(positions: Positions, seed: int) -> None:
    """Packed, branched and padded as rows are; positions that run on from branch to branch are the classic mistake of shared prefixes."""
    tokens = random_tokens(seed)
    found = positions.assign(tokens)
    assert not found[~tokens.is_real].any()
    assert torch.equal(positions.assign(tokens.at(found)), found)
    for b, path in paths(tokens):
        kinds = list(zip(tokens.kind[b, path].tolist(), tokens.media[b, path].tolist(), strict=True))
        assert found[b][path].tolist() == scanned(positions, kinds)


def test_sequential_counts_each_document() -> None:
    assert ids(Sequential(), "siq/qa.") == [0, 1, 2, 0, 1, 0]
    assert ids(Sequential(), "si 1 qa 2 q") == [0, 1, 2, 3, 4]


def test_restart_goes_on_behind_the_trunk_for_each_branch() -> None:
    assert ids(Restart(), "si 1 qa 2 qqa / i 1 q 2 q / qa") == [0, 1, 2, 3, 2, 3, 4, 0, 1, 1, 0, 1]


def test_without_branches_both_are_the_same() -> None:
    tokens = batch("siqa/qa", "iqa", left=True)
    assert torch.equal(Sequential().assign(tokens), Restart().assign(tokens))
    assert Sequential().assign(tokens)[1].tolist() == [0, 0, 0, 0, 1, 2]


def test_concentric_counts_rings_from_the_border_whatever_the_shape() -> None:
    assert rings(3, 3) == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert rings(5, 5)[2] == [0, 1, 2, 1, 0]
    assert rings(3, 5) == [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    assert rings(4, 3) == [[0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert rings(1, 4) == [[0, 0, 0, 0]]


def test_an_image_takes_up_as_many_positions_as_it_has_rings() -> None:
    assert ids(Concentric(), "ss iiiiiiiii q jjjj qa", None) == [0, 1, *[2] * 9, 3, *[4] * 4, 5, 6]  # nine in a row, four in a square
    assert ids(Concentric(), "q iiiiiiiii qa", cols=3) == [0, 1, 1, 1, 1, 2, 1, 1, 1, 1, 3, 4]
    assert ids(Concentric(), "qqa") == [0, 1, 2]


@pytest.mark.parametrize(("positions", "wanted"), [(Concentric(), [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]), (SinglePosition(), [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]),
                                                   (ReverseRaster(), [0, 4, 3, 2, 1, 8, 7, 6, 5, 9])])
def test_each_frame_of_a_clip_is_an_image_of_its_own(positions: Positions, wanted: list[int]) -> None:
    clip = row("q iiii jjjj q")
    later = clip.media == 1
    clip = replace(clip, media=torch.where(later, 0, clip.media), frame=torch.where(later, 1, clip.frame))
    assert positions.assign(clip)[0].tolist() == wanted


@pytest.mark.parametrize(("positions", "wanted"), [(Concentric(), [[3, 4], [1, 2]]), (SinglePosition(), [[3, 4], [1, 2]]),
                                                   (ReverseRaster(), [[6, 7], [4, 5]]), (Restart(), [[6, 7], [4, 5]])])
def test_decoded_tokens_follow_the_prompt(positions: Positions, wanted: list[list[int]]) -> None:
    assert positions.following(batch("s iiii q", "jjjj", left=True), 2).tolist() == wanted


def test_decoding_goes_on_in_the_last_branch() -> None:
    assert Restart().following(row("si 1 qaa 2 q")).tolist() == [[3]]
    assert Concentric().following(row("s iiii 1 qaa 2 q")).tolist() == [[3]]


def misplaced(text: str, **tables: list[int]) -> TokenMap:
    return replace(row(text), **{name: torch.tensor([values]) for name, values in tables.items()})


@pytest.mark.parametrize(("tokens", "found"), [
    (misplaced("s iiii", row=[-1] * 5, col=[-1] * 5), r"no place in the picture \(row -1, col -1\)"),
    (misplaced("s iiii", row=[-1, 0, 0, 1, 2]), r"4 tokens that are no raster of 3 x 2"),
    (misplaced("s iiii", col=[-1, 0, 0, 0, 0]), r"4 tokens that are no raster of 2 x 1"),
    (misplaced("s iiii", row=[-1, 1, 1, 0, 1]), r"4 tokens that are no raster of 2 x 2 \(token 1 is at row 1, col 0\)")],
    ids=["no grid", "too many rows", "one column", "shuffled"])
def test_a_grid_that_contradicts_the_tokens_has_no_rings(tokens: TokenMap, found: str) -> None:
    with pytest.raises(ValueError, match=rf"Concentric: image 0, frame 0 of document 0 in row 0 has {found}.*use a projector that keeps the grid"):
        Concentric().assign(tokens)
    assert ReverseRaster().assign(tokens).tolist() == [[0, 4, 3, 2, 1]]
